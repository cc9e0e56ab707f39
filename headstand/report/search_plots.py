"""Plots of a search: accuracy by trial, accuracy by parameter value, and parameter importance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from headstand.heads.search.trial import Trial, best, value_text
from headstand.heads.search.trial_table import importance, interval, log_scaled, searched
from headstand.report.plots import TRAIN, VALIDATION, save

_COLUMNS = 4
_NUMBERS = 6
"""Largest number of distinct numeric values that are drawn as categories instead of on a numeric axis."""


def write(folder: Path, trials: Sequence[Trial], photos: int, baseline: float | None) -> None:
    """Writes `search_history.png`, `search_slices.png` and, if importance is defined, `search_importance.png`.

    Args:
        folder: the run's folder.
        trials: trials of all stages or jobs.
        photos: number of validation photos.
        baseline: the validation accuracy that every trial should exceed.
    """
    save(history(trials, photos, baseline), folder / "search_history.png")
    save(slices(trials, baseline), folder / "search_slices.png")
    if shares := importance(trials):
        save(importance_chart(shares), folder / "search_importance.png")


def history(trials: Sequence[Trial], photos: int, baseline: float | None) -> Figure:
    """Returns a plot of validation accuracy by trial, the best so far, and the best trial's 95 % interval."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    numbers = np.arange(1, len(trials) + 1)
    accuracies = np.array([trial.val_accuracy for trial in trials])
    pruned = np.array([trial.pruned for trial in trials])
    so_far = np.maximum.accumulate(np.where(pruned, -np.inf, accuracies))
    if winner := best(trials):
        axes.axhspan(*interval(winner, photos), color=VALIDATION, alpha=0.12, lw=0, label="95 % interval of the best")
    axes.step(
        numbers, np.where(np.isfinite(so_far), so_far, np.nan), where="post", color=VALIDATION, label="best so far"
    )
    axes.scatter(numbers[~pruned], accuracies[~pruned], color=TRAIN, s=18, zorder=3, label="trial")
    if pruned.any():
        axes.scatter(
            numbers[pruned], accuracies[pruned], color=TRAIN, marker="x", s=18, zorder=3, label="stopped early"
        )
    _baseline(axes, baseline)
    stages = [trial.stage for trial in trials]
    for index in range(1, len(stages)):
        if stages[index] != stages[index - 1]:
            axes.axvline(index + 0.5, color="black", linewidth=0.5, linestyle=":")
    axes.set(xlabel="trial", ylabel="validation accuracy", xlim=(0.5, len(trials) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def slices(trials: Sequence[Trial], baseline: float | None) -> Figure:
    """Returns a plot of validation accuracy against each parameter, one panel each; a ring marks the best trial."""
    names = searched(trials)
    rows = -(-len(names) // _COLUMNS)
    columns = min(len(names), _COLUMNS)
    figure = Figure(figsize=(max(3.0 * columns, 4.5), 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    winner = best(trials)
    for axes, name in zip(panels, names, strict=False):
        drawn = [trial for trial in trials if name in trial.values]
        positions = _axis(axes, name, [trial.values[name] for trial in drawn])
        for marker, pruned, label in (("x", True, "stopped early"), ("o", False, "trial")):
            series = [index for index, trial in enumerate(drawn) if trial.pruned == pruned]
            accuracies = [drawn[index].val_accuracy for index in series]
            style: dict[str, Any] = {"color": TRAIN, "marker": marker, "s": 18, "label": label if series else None}
            axes.scatter([positions[index] for index in series], accuracies, **style)
        if winner in drawn:
            ring = {"facecolors": "none", "edgecolors": VALIDATION, "s": 90, "label": "best"}
            axes.scatter(positions[drawn.index(winner)], winner.val_accuracy, **ring)
        _baseline(axes, baseline)
        axes.set_xlabel(name.replace("_", " "))
        axes.grid(axis="y", linewidth=0.3)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    # Each label appears once in the legend, although it occurs in several panels.
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    figure.legend(handles.values(), handles.keys(), frameon=False, loc="outside lower center", ncols=len(handles))
    for axes in panels[::columns]:
        axes.set_ylabel("validation accuracy")
    return figure


def importance_chart(shares: dict[str, float]) -> Figure:
    """Returns a bar chart of each parameter's share of the variance."""
    figure = Figure(figsize=(6, 0.9 + 0.34 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    bars = axes.barh([name.replace("_", " ") for name in names], [shares[name] for name in names], color=TRAIN)
    axes.bar_label(bars, [f"{shares[name]:.0%}" for name in names], padding=3)
    axes.set(xlabel="share of the variance of validation accuracy", xlim=(0, 1.08))
    return figure


def _baseline(axes: Axes, baseline: float | None) -> None:
    if baseline is not None:
        axes.axhline(baseline, color="black", linewidth=0.8, linestyle="--", label="baseline")


def _axis(axes: Axes, name: str, values: Sequence[Any]) -> Sequence[float]:
    """Sets up the x axis and returns the positions of the values.

    More than `_NUMBERS` distinct numbers get a numeric axis; other values are categories in a row.
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers and len(set(values)) > _NUMBERS:
        if log_scaled(name, values):
            axes.set_xscale("log")
            steps = (1.0,) if max(values) / min(values) > 50 else (1.0, 2.0, 5.0)
            axes.xaxis.set_major_locator(LogLocator(subs=steps))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        return values
    categories = list(dict.fromkeys(sorted(values) if numbers else values))
    axes.set_xticks(range(len(categories)), [value_text(value) for value in categories])
    axes.set_xlim(-0.5, len(categories) - 0.5)
    return [categories.index(value) for value in values]

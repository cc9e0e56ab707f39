"""Bubble chart of a comparison: validation accuracy with its interval against latency, bubble area by model size."""

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from headstand.compare.result import ModelSize, Result
from headstand.compare.winner import Choice
from headstand.recipe.variants import Compare

_LINE = 0.26
"""Height of a line of text in inches."""

_TOP, _BOTTOM, _GAP = 0.6, 0.75, 0.45
"""Margins above and below the axes, and the gap between them, in inches."""

_COLORS = [f"C{index}" for index in range(10)]


def scatter(results: Sequence[Result], limits: Compare, choice: Choice | None = None) -> Figure:
    """Returns a bubble chart of all results with a measured latency.

    Labels are in a separate column, so that they do not overlap. Results without accuracy are shown below, one in each
    row.

    Args:
        results: results in leaderboard order.
        limits: limits of the comparison; a latency limit is drawn as a line.
        choice: selection whose entry is marked.
    """
    drawn = [result for result in results if result.model_size]
    scored, others = [r for r in drawn if r.score], [r for r in drawn if not r.score]
    names = list(dict.fromkeys(result.entry.backbone.name for result in drawn))
    colors = {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(names)}
    upper = max(3.2, _LINE * (len(scored) + 1)) if scored else 0
    lower = _LINE * len(others) + 0.2 if others else 0
    gap = _GAP if scored and others else 0
    height = _TOP + upper + gap + lower + _BOTTOM
    figure = Figure(figsize=(11, height))
    left, width = 0.07, 0.5

    def axes_at(bottom: float, tall: float) -> Axes:
        axes = figure.add_axes((left, bottom / height, width, tall / height))
        axes.set_xscale("log")
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        return axes

    every = []
    if others:
        below = axes_at(_BOTTOM, lower)
        _unmeasured(below, others, colors)
        every.append(below)
    if scored:
        above = axes_at(_BOTTOM + lower + gap, upper)
        _measured(above, scored, colors, choice)
        every.append(above)
    if every:
        _latencies(every, [result.model_size.milliseconds for result in drawn if result.model_size], limits)
    figure.suptitle("validation accuracy against latency of the converted model", x=left, ha="left", fontsize=11)
    sizes = [result.model_size for result in drawn if result.model_size]
    if sizes:
        _sizes(figure, sizes)
    return figure


def _measured(axes: Axes, results: Sequence[Result], colors: dict[str, str], choice: Choice | None) -> None:
    measured = [(result, result.score, result.model_size) for result in results if result.score and result.model_size]
    lows = [score.interval[0] for _, score, _ in measured]
    highs = [score.interval[1] for _, score, _ in measured]
    margin = 0.05 * (max(highs) - min(lows)) or 0.01
    axes.set_ylim(min(lows) - margin, max(highs) + margin)
    axes.set_ylabel("validation accuracy, 95 % interval")
    ties = Counter(size.milliseconds for _, _, size in measured)
    drawn: Counter[float] = Counter()
    for index, (result, score, size) in enumerate(measured):
        latency = size.milliseconds
        # Equal latencies are drawn side by side, because their intervals would overlap.
        x = latency * 1.012 ** (drawn[latency] - (ties[latency] - 1) / 2)
        drawn[latency] += 1
        color = colors[result.entry.backbone.name]
        low, high = score.interval
        axes.plot([x, x], [low, high], color=color, linewidth=1, alpha=0.6)
        axes.scatter([x], [score.val_accuracy], s=_area(size), color=color, alpha=0.35, linewidths=0)
        selected = choice is not None and result is choice.selected
        axes.scatter(
            [x], [score.val_accuracy], s=14, color=color, edgecolors="black", linewidths=1.2 if selected else 0
        )
        axes.annotate(
            f"{score.val_accuracy:.3f}  {result.entry.title}" + ("  (selected)" if selected else ""),
            xy=(x, score.val_accuracy),
            xytext=(1.04, 1 - (index + 0.5) / len(measured)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            fontweight="bold" if selected else "normal",
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0},
        )


def _unmeasured(axes: Axes, results: Sequence[Result], colors: dict[str, str]) -> None:
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_ylabel("accuracy\nnot measured", fontsize=8)
    for index, result in enumerate(results):
        assert result.model_size
        color = colors[result.entry.backbone.name]
        axes.scatter([result.model_size.milliseconds], [index], s=14, facecolors="white", edgecolors=color, zorder=3)
        axes.text(
            1.04,
            index,
            f"{result.model_size.milliseconds:.1f} ms, {result.model_size.megabytes:.0f} MB  {result.entry.title}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color="#666666",
            parse_math=False,
        )


def _latencies(every: Sequence[Axes], latencies: Sequence[float], limits: Compare) -> None:
    """Sets the same logarithmic latency scale, with ticks at 1, 2 and 5, on all axes; the lowest axes have labels."""
    shown = [*latencies, *([limits.under_ms] if limits.under_ms else [])]
    low, high = min(shown) / 1.25, max(shown) * 1.25
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    for index, axes in enumerate(every):
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(FixedLocator(ticks or [low, high]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if index:
            axes.tick_params(labelbottom=False)
        if limits.under_ms:
            axes.axvline(limits.under_ms, color="black", linewidth=0.8, linestyle=":")
    every[0].set_xlabel("latency in ms, LiteRT, one thread (equal ones side by side); bubble area: model size")


def _sizes(figure: Figure, sizes: Sequence[ModelSize]) -> None:
    """Adds a legend of bubble areas for the smallest and the largest model."""
    ends = sorted({min(sizes, key=lambda size: size.size), max(sizes, key=lambda size: size.size)},
                  key=lambda size: size.size)  # fmt: skip
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=math.sqrt(_area(size)), color="#888888", alpha=0.35,
               markeredgewidth=0, label=f"{size.megabytes:.0f} MB")
        for size in ends
    ]  # fmt: skip
    figure.legend(handles=handles, loc="upper right", ncols=2, frameon=False, fontsize=8, handletextpad=1.2)


def _area(size: ModelSize) -> float:
    """Returns the bubble area of a model in square points, 4 for each megabyte."""
    return 4 * size.megabytes

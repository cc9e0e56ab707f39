"""Plots of a run: training curves, confusion matrix, reliability diagram, accuracy by coverage."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstand import files
from headstand.evaluation.calibration import Reliability
from headstand.evaluation.metrics import SplitMetrics

mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "figure.dpi": 110})

TRAIN, VALIDATION = "#8a8f98", "#d1495b"

SIZE = (4.5, 3.2)
"""Width and height in inches of plots that are laid out side by side; readable on a phone."""


def curve(history: Sequence[Mapping[str, float]], best_epoch: int, key: str) -> Figure:
    """Plots training and validation `loss` or `accuracy` (`key`) by epoch; a line marks the selected epoch."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    epochs = range(1, len(history) + 1)
    axes.plot(epochs, [metrics[key] for metrics in history], color=TRAIN, marker=".", label="training")
    if f"val_{key}" in history[0]:
        validation = [metrics[f"val_{key}"] for metrics in history]
        axes.plot(epochs, validation, color=VALIDATION, marker=".", label="validation")
        axes.axvline(best_epoch, color="black", linewidth=0.8, linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel=key)
    # With a single epoch, MaxNLocator would place ticks at fractions.
    if len(history) == 1:
        axes.set_xticks([1])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def reliability(found: Reliability, threshold: float) -> Figure:
    """Plots the reliability diagram: accuracy against predicted probability; a line marks the confidence threshold."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    confidence, accuracy, counts = np.array(found.bins).T
    axes.plot(confidence, accuracy, color=VALIDATION, linewidth=1)
    axes.scatter(confidence, accuracy, s=12 + 220 * counts / counts.sum(), color=VALIDATION, alpha=0.7)
    axes.set_title(f"ECE {found.ece:.3f}; by chance up to {found.band[1]:.3f}", fontsize=9)
    axes.set(xlabel="predicted probability", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.04))
    if threshold:
        axes.axvline(threshold, color="black", linewidth=0.8, linestyle=":")
    return figure


def coverage(found: Reliability) -> Figure:
    """Plots accuracy against coverage, the share of photos that are classified, most confident first."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    shares, accuracy = np.array(found.coverage).T
    axes.plot(shares, accuracy, color=VALIDATION)
    axes.set_title("the most confident predictions first", fontsize=9)
    axes.set(xlabel="coverage: share of photos classified", ylabel="accuracy", xlim=(0, 1.02))
    return figure


def confusion(metrics: SplitMetrics, classes: Sequence[str]) -> Figure:
    """Plots the confusion matrix: counts of true class (rows) by predicted class (columns), shaded by share of row."""
    counts = np.array(metrics.confusion)
    many = len(classes) > 20
    side = 2.2 + len(classes) * (0.17 if many else 0.55)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=5 if many else 9)
    size = 6 if many else 9
    axes.set_xticks(
        range(len(classes)),
        classes,
        rotation=90 if many else 45,
        ha="center" if many else "right",
        fontsize=size,
        parse_math=False,
    )
    axes.set_yticks(range(len(classes)), classes, fontsize=size, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.spines[:].set_visible(False)
    axes.set_title(f"accuracy {metrics.accuracy:.3f} on {metrics.count} photos")
    return figure


def save_metric_plots(folder: Path, metrics: SplitMetrics, classes: Sequence[str], threshold: float) -> None:
    """Writes the plots of a split's metrics, `confusion.png`, `calibration.png` and `coverage.png`, into a folder."""
    save(confusion(metrics, classes), folder / "confusion.png")
    save(reliability(metrics.reliability, threshold), folder / "calibration.png")
    save(coverage(metrics.reliability), folder / "coverage.png")


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure as a PNG atomically and returns the path."""
    with files.replacing(path) as part:
        figure.savefig(part, format="png")
    return path

"""The pictures of a run: training curves, the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from headstand.learn.evaluate import Evaluation

mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "figure.dpi": 110})

TRAIN, VALIDATION = "#8a8f98", "#d1495b"


def curves(history: Sequence[dict[str, float]], best_epoch: int) -> Figure:
    """Loss and accuracy of training and validation by epoch; a line marks the epoch that was kept."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    epochs = range(1, len(history) + 1)
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [figures[key] for figures in history], color=TRAIN, marker=".", label="training")
        if f"val_{key}" in history[0]:
            validation = [figures[f"val_{key}"] for figures in history]
            axes.plot(epochs, validation, color=VALIDATION, marker=".", label="validation")
            axes.axvline(best_epoch, color="black", linewidth=0.8, linestyle=":", label="kept")
        axes.set(xlabel="epoch", ylabel=key)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    return figure


def confusion(evaluation: Evaluation, classes: Sequence[str]) -> Figure:
    """Counts of true class (rows) against answer (columns), shaded by the row's share."""
    counts = np.array(evaluation.confusion)
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
    axes.set(xlabel="answer", ylabel="truth")
    axes.spines[:].set_visible(False)
    axes.set_title(f"{evaluation.accuracy:.3f} of {evaluation.count} test photos right")
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG in one step."""
    temporary = path.with_name(path.name + ".part")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
    return path

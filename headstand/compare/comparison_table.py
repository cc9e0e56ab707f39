"""Leaderboard of a comparison as text, CSV and JSON."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstand import files, heads
from headstand.compare.result import Result, plain
from headstand.export.latency import QUIET

UNKNOWN = "not measured"


COLUMNS = ("", "backbone", "px", "variant", "val accuracy", "95 % interval", "MB", "ms", "training")
"""Column names of the leaderboard."""


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Returns the rows of the leaderboard as text, one cell for each of `COLUMNS`.

    Args:
        results: results in leaderboard order.
    """
    found: list[tuple[str, ...]] = []
    for rank, result in enumerate(results, 1):
        backbone, score, size = result.entry.backbone, result.score, result.model_size
        random = "" if size is None or size.trained else " r"
        busy = "" if size is None or size.share >= QUIET else " b"
        found.append(
            (
                str(rank),
                backbone.name,
                str(backbone.size),
                result.entry.variant,
                f"{score.val_accuracy:.4f}" if score else UNKNOWN,
                "{:.3f} to {:.3f}".format(*score.interval) if score else "",
                f"{size.megabytes:.1f}{random}" if size else UNKNOWN,
                f"{size.milliseconds:.1f}{random}{busy}" if size else UNKNOWN,
                f"{score.seconds:.1f} s{' c' if score.cached else ''}" if score else "",
            )
        )
    return found


def lines(results: Sequence[Result]) -> list[str]:
    """Returns the lines of the leaderboard as an aligned table for the terminal."""
    cells = [COLUMNS, *rows(results)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = (0, 2)
    table = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [table[0], "-" * max(map(len, table)), *table[1:]]


def notes(results: Sequence[Result]) -> list[str]:
    """Returns explanations of columns and marks in the leaderboard, and the reasons for missing measurements."""
    found = [
        "Accuracy is that of the best epoch on the validation photos, with its Wilson interval. It selected the epoch, "
        "so it is slightly optimistic. The test split was not used.",
        "MB: 10^6 bytes of the float32 .tflite; ms: median latency for one photo in LiteRT on one thread; training: "
        "feature extraction and head training.",
    ]
    if any(result.model_size and not result.model_size.trained for result in results):
        found.append("r: measured with random weights, which have the same size and operations.")
    if any(result.score and result.score.cached for result in results):
        found.append("c: at least some features came from the cache, so that a run without cache takes longer.")
    if any(result.model_size and result.model_size.share < QUIET for result in results):
        least = min(result.model_size.share for result in results if result.model_size)
        found.append(
            f"b: other processes used the processors (the measurement had down to {least:.0%} of one), so that the "
            "latency is too high."
        )
    reasons: dict[str, list[str]] = {}
    for rank, result in enumerate(results, 1):
        for reason in result.reasons:
            reasons.setdefault(reason, []).append(str(rank))
    return found + [f"{', '.join(ranks)}: {reason}" for reason, ranks in reasons.items()]


def row(result: Result) -> dict[str, Any]:
    """Returns a result as a flat dictionary, with None for what was not measured."""
    entry, score, size = result.entry, result.score, result.model_size
    return {
        "backbone": entry.backbone.name,
        "size": entry.backbone.size,
        "weights": entry.backbone.weights,
        "pooling": entry.backbone.pooling,
        "variant": entry.variant,
        "head": heads.describe(entry.head),
        "views": entry.augmentation.views,
        "val_accuracy": score.val_accuracy if score else None,
        "low": score.interval[0] if score else None,
        "high": score.interval[1] if score else None,
        "val_loss": score.val_loss if score else None,
        "epoch": score.epoch if score else None,
        "megabytes": round(size.megabytes, 3) if size else None,
        "milliseconds": round(size.milliseconds, 3) if size else None,
        "processor_share": round(size.share, 3) if size else None,
        "measured_with": None if size is None else "trained weights" if size.trained else "random weights",
        "features_seconds": score.features if score else None,
        "features_from_cache": score.cached if score else None,
        "photos": score.photos if score else None,
        "head_seconds": score.head if score else None,
        "reasons": "; ".join(result.reasons),
    }


def record(result: Result) -> dict[str, Any]:
    """Returns a result for compare.json: title, row and all settings of the entry."""
    return {"title": result.entry.title, **row(result), "entry": plain(result.entry)}


def write(path: Path, results: Sequence[Result]) -> Path:
    """Writes `compare.csv` atomically, with `UNKNOWN` for what was not measured, and returns its path."""
    with files.replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(row(results[0])), lineterminator="\n")
        table.writeheader()
        for result in results:
            table.writerow({key: UNKNOWN if value is None else value for key, value in row(result).items()})
    return path

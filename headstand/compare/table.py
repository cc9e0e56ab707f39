"""Leaderboard of a comparison as text, CSV and JSON."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstand import files
from headstand import heads as heads
from headstand.compare.result import Result, plain
from headstand.export.latency import QUIET

UNKNOWN = "not measured"


def lines(results: Sequence[Result]) -> list[str]:
    """Returns the lines of the leaderboard as an aligned table for the terminal.

    Args:
        results: results in leaderboard order.
    """
    rows = [("", "backbone", "px", "variant", "val accuracy", "95 % interval", "MB", "ms", "training")]
    for place, result in enumerate(results, 1):
        backbone, score, weight = result.entry.backbone, result.score, result.weight
        random = "" if weight is None or weight.trained else " r"
        busy = "" if weight is None or weight.share >= QUIET else " b"
        rows.append(
            (
                str(place),
                backbone.name,
                str(backbone.size),
                result.entry.variant,
                f"{score.val_accuracy:.4f}" if score else UNKNOWN,
                "{:.3f} to {:.3f}".format(*score.interval) if score else "",
                f"{weight.megabytes:.1f}{random}" if weight else UNKNOWN,
                f"{weight.milliseconds:.1f}{random}{busy}" if weight else UNKNOWN,
                f"{score.seconds:.1f} s{' c' if score.cached else ''}" if score else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (0, 2)
    table = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [table[0], "-" * max(map(len, table)), *table[1:]]


def notes(results: Sequence[Result]) -> list[str]:
    """Returns explanations of columns and marks in the leaderboard, and the reasons for missing measurements."""
    said = [
        "Accuracy is that of the best epoch on the validation photos (Wilson's interval): it chose the epoch, so it is "
        "a little too good. The test split was not looked at.",
        "MB: 10^6 bytes of the float32 .tflite; ms: median a photo in LiteRT on one thread; training: features and "
        "head.",
    ]
    if any(result.weight and not result.weight.trained for result in results):
        said.append("r: measured with random weights, which have the same size and operations.")
    if any(result.score and result.score.cached for result in results):
        said.append("c: features came from the cache, some of them at least, so that this is not what it takes anew.")
    if any(result.weight and result.weight.share < QUIET for result in results):
        least = min(result.weight.share for result in results if result.weight)
        said.append(
            f"b: other processes kept the processors busy (the timing had down to {least:.0%} of one), so that the "
            "latency is too high."
        )
    reasons: dict[str, list[str]] = {}
    for place, result in enumerate(results, 1):
        for reason in result.reasons:
            reasons.setdefault(reason, []).append(str(place))
    return said + [f"{', '.join(places)}: {reason}" for reason, places in reasons.items()]


def row(result: Result) -> dict[str, Any]:
    """Returns a result as a flat dictionary, with None for what was not measured."""
    entry, score, weight = result.entry, result.score, result.weight
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
        "megabytes": round(weight.megabytes, 3) if weight else None,
        "milliseconds": round(weight.milliseconds, 3) if weight else None,
        "processor_share": round(weight.share, 3) if weight else None,
        "measured_with": None if weight is None else "trained weights" if weight.trained else "random weights",
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

"""Plain-text tables of metrics for the terminal."""

from typing import Any

from headstand.evaluation.metrics import metric_names


def metrics(scores: dict[str, Any]) -> str:
    """Returns a table of the metrics of a split with 95 % intervals.

    Args:
        scores: a `SplitMetrics` as a dictionary (`dataclasses.asdict`).
    """
    names = metric_names(scores["k"])
    width = max(map(len, names.values()))
    lines = [f"{'':<{width}}  value  95 % interval"]
    for key, name in names.items():
        low, high = scores["intervals"][key]
        lines.append(f"{name:<{width}}  {scores[key]:.3f}  {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def per_class(metrics: dict[str, dict[str, float]]) -> str:
    """Returns a table of precision, recall and F1 of each class; a class without photos has `-`.

    Args:
        metrics: metrics by class, see `SplitMetrics.per_class`.
    """
    width = max(map(len, metrics))
    lines = [f"{'':<{width}}  precision  recall     f1  photos"]
    for name, row in metrics.items():
        precision, recall, f1 = (f"{row[key]:.3f}" if row["count"] else "-" for key in ("precision", "recall", "f1"))
        lines.append(f"{name:<{width}}  {precision:>9}  {recall:>6}  {f1:>5}  {row['count']:6.0f}")
    return "\n".join(lines)

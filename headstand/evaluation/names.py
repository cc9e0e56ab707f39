"""Display names of the metrics of an `Evaluation`."""

FIGURES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "top_k": "right among first {k}",
    "macro_f1": "F1, mean of classes", "macro_precision": "precision, mean of classes",
    "macro_recall": "recall, mean of classes", "weighted_f1": "F1, weighted by counts",
    "weighted_precision": "precision, weighted", "weighted_recall": "recall, weighted", "loss": "log loss (nats)",
}  # fmt: skip
"""Display name of each metric that has an interval, in display order; `{k}` is replaced by `Evaluation.k`."""

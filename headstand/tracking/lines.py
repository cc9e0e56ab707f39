"""Metrics as text for standard output, readable by people and by the regular expressions of cloud tuners.

`val_accuracy=([0-9.]+)` reads the validation accuracy; several lines have it, the last is that of the selected model.
"""

from collections.abc import Mapping


def words(figures: Mapping[str, float]) -> str:
    """Returns metrics as `loss=0.4213 val_accuracy=0.8620 ...`.

    Losses and accuracies have four decimals, other metrics four significant digits.
    """
    return " ".join(
        f"{name}={value:.4f}" if name.endswith(("loss", "accuracy")) else f"{name}={value:.4g}"
        for name, value in figures.items()
    )

"""Figures as plain words on standard output, for people and for the regular expressions of cloud tuners.

`val_accuracy=([0-9.]+)` reads the validation accuracy; several lines have it, the last is that of the kept model.
"""

from collections.abc import Mapping


def words(figures: Mapping[str, float]) -> str:
    """`loss=0.4213 val_accuracy=0.8620 ...`: losses and shares with four places, other figures with four digits."""
    return " ".join(
        f"{name}={value:.4f}" if name.endswith(("loss", "accuracy")) else f"{name}={value:.4g}"
        for name, value in figures.items()
    )

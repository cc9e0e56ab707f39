"""Figures as tables for the terminal."""


def per_class(figures: dict[str, dict[str, float]]) -> str:
    """Precision, recall and F1 of each class (as `Evaluation.per_class` has them) as a table for the terminal."""
    width = max(map(len, figures))
    lines = [f"{'':<{width}}  precision  recall     f1  photos"]
    for name, row in figures.items():
        lines.append(
            f"{name:<{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:5.3f}  {row['count']:6.0f}"
        )
    return "\n".join(lines)

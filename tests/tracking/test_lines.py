import math
import re

from headstand.tracking import lines


def test_figures_are_plain_words() -> None:
    figures = {"loss": 0.42134, "val_accuracy": 0.862, "learning_rate": 3e-5, "gradient_norm": 12.3456}
    assert lines.words(figures) == "loss=0.4213 val_accuracy=0.8620 learning_rate=3e-05 gradient_norm=12.35"
    assert lines.words({"val_loss": math.nan}) == "val_loss=nan"


def test_the_documented_expression_reads_them() -> None:
    expression = re.search(r"`(val_accuracy=\S+)`", str(lines.__doc__))
    assert expression
    line = lines.words({"accuracy": 0.9, "val_loss": 0.1, "val_accuracy": 0.862, "test_accuracy": 0.7})
    assert re.findall(expression[1], line) == ["0.8620"]

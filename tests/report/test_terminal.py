from dataclasses import asdict

import numpy as np

from headstand import report
from headstand.evaluation.metrics import evaluate


def test_the_table_for_the_terminal_is_aligned() -> None:
    figures = {
        "chair": {"precision": 0.9, "recall": 1.0, "f1": 0.94737, "count": 12},
        "downward dog": {"precision": 0.0, "recall": 0.5, "f1": 0.123, "count": 1234},
        "absent": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0},
    }
    lines = report.per_class(figures).splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "photos"]
    assert lines[1].split() == ["chair", "0.900", "1.000", "0.947", "12"]
    assert lines[2].split() == ["downward", "dog", "0.000", "0.500", "0.123", "1234"]
    assert lines[3].split() == ["absent", "-", "-", "-", "0"]
    assert len({len(line) for line in lines}) == 1


def test_every_metric_has_its_interval() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = evaluate(np.eye(3)[[0, 1, 1, 1]] * 0.7 + 0.1, labels, ("a", "b", "c"))
    lines = report.metrics(asdict(scores)).splitlines()
    assert lines[0].split() == ["value", "95", "%", "interval"]
    assert lines[1] == "accuracy            0.750  0.301 to 0.954"
    assert lines[3].startswith("top-2 accuracy ")
    assert len(lines) == 1 + len(scores.intervals)
    low, high = scores.intervals["loss"]
    assert lines[-1].split()[3:] == [f"{scores.loss:.3f}", f"{low:.3f}", "to", f"{high:.3f}"]

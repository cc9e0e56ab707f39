from headstand.learn import report


def test_the_table_for_the_terminal_is_aligned() -> None:
    figures = {
        "chair": {"precision": 0.9, "recall": 1.0, "f1": 0.94737, "count": 12},
        "downward dog": {"precision": 0.0, "recall": 0.5, "f1": 0.123, "count": 1234},
    }
    lines = report.per_class(figures).splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "photos"]
    assert lines[1].split() == ["chair", "0.900", "1.000", "0.947", "12"]
    assert lines[2].split() == ["downward", "dog", "0.000", "0.500", "0.123", "1234"]
    assert len({len(line) for line in lines}) == 1

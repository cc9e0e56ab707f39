import pytest

from headstand.learn.tracking.chart import chart
from headstand.learn.tracking.resources import Span
from headstand.learn.tracking.sampler import Sample

SAMPLES = [Sample(0, 0, 2**30), Sample(1, 2, 2**31), Sample(2, 6, 2**30), Sample(100, 6, 2**30)]
SPANS = [Span("features", SAMPLES[0], SAMPLES[2]), Span("head", SAMPLES[2], SAMPLES[3])]


def test_processors_memory_and_parts_are_drawn() -> None:
    figure = chart(SAMPLES, SPANS, 4, {"features": {"waiting": 0.5, "network": 1.4}, "head": {}})
    cpu, memory, parts = figure.axes
    assert cpu.lines[0].get_ydata() == pytest.approx([0.5, 1.0, 0.0])
    assert memory.lines[0].get_ydata() == pytest.approx([1, 2, 1, 1])
    assert [text.get_text() for text in cpu.texts] == ["head"]  # there is no room for the other
    assert [label.get_text() for label in parts.get_yticklabels()] == ["features"]
    assert [bar.get_width() for bar in parts.patches] == [0.5, 1.4]
    assert [bar.get_x() for bar in parts.patches] == [0, 0.5]


def test_without_parts_and_samples_there_is_a_picture_too() -> None:
    assert len(chart([], [], 4, {}).axes) == 2

import pytest

from headstand.tracking.chart import chart
from headstand.tracking.timing import ResourceSample, StepUsage

SAMPLES = [
    ResourceSample(0, 0, 2**30), ResourceSample(1, 2, 2**31), ResourceSample(1.01, 2, 2**30),
    ResourceSample(2, 6, 2**30), ResourceSample(100, 6, 2**30),
]  # fmt: skip
SPANS = [StepUsage("features", SAMPLES[0], SAMPLES[3]), StepUsage("head", SAMPLES[3], SAMPLES[4])]
PARTS = {"features": {"network": 0.5}, "head": {"own": 0.5, "network": 3.0, "waiting for photos": 1.5}}


def test_processors_memory_and_parts_are_drawn() -> None:
    figure = chart(SAMPLES, SPANS, 4, PARTS)
    cpu, memory, parts = figure.axes
    assert cpu.lines[0].get_ydata() == pytest.approx([0.5, 1.0, 0.0])  # what is too near to its neighbour is left out
    assert memory.lines[0].get_ydata() == pytest.approx([1, 2, 1, 1, 1])
    assert [text.get_text() for text in cpu.texts] == ["head"]  # there is no room for the other
    assert [label.get_text() for label in parts.get_yticklabels()] == ["head"]
    assert [(bar.get_x(), bar.get_width()) for bar in parts.patches] == [(0, 1.5), (1.5, 3.0), (4.5, 0.5)]
    assert [text.get_text() for text in parts.get_legend().get_texts()] == ["waiting for photos", "network", "own"]


def test_chart_without_parts_and_samples() -> None:
    assert len(chart([], [], 4, {}).axes) == 2

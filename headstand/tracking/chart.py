"""Plot of CPU utilisation and memory of a run over time."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstand.tracking.timing import CACHE, COMPILING, NETWORK, VALIDATION, WAITING, ResourceSample, StepUsage

_LINE, _BAND = "#d1495b", ("#f3f4f6", "#e5e7eb")
_PARTS = {WAITING: "#d1495b", NETWORK: "#30638e", COMPILING: "#edae49", VALIDATION: "#66a182", CACHE: "#8a8f98"}
_OTHER = "#b8a9c9"

_NARROW = 0.03
"""Smallest share of the run's time for which the parts of a step are drawn as a bar."""

_LETTER = 0.0085
"""Width of a letter of a step's name, as a share of the chart's width."""

_SHORT = 0.2
"""Shortest distance of two samples in seconds: processor time, counted in 1/100 s, is too coarse below it."""


def chart(
    samples: Sequence[ResourceSample], spans: Sequence[StepUsage], cores: int, parts: dict[str, dict[str, float]]
) -> Figure:
    """Returns a plot of CPU utilisation and resident memory over time, with a bar for the parts of each long step.

    Args:
        samples: samples of the whole run.
        spans: the steps, drawn as background bands.
        cores: processors that the process may use.
        parts: for some steps, seconds by part.
    """
    end = max((sample.time for sample in samples), default=1.0) or 1.0
    divided = {span.name: parts[span.name] for span in spans if sum(parts.get(span.name, {}).values()) > _NARROW * end}
    figure = Figure(figsize=(9, 4.2 + 0.35 * len(divided)), layout="constrained")
    ratios = [2, 2, 0.35 + 0.35 * len(divided)] if divided else [2, 2]
    panels = figure.subplots(len(ratios), 1, height_ratios=ratios)
    times, shares = _shares(samples, cores)
    panels[0].step(times, shares, where="pre", color=_LINE, linewidth=1)
    panels[0].set(ylabel=f"share of {cores} processors", ylim=(0, 1.05))
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panels[1].plot(
        [sample.time for sample in samples], [sample.memory / 2**30 for sample in samples], color=_LINE, linewidth=1
    )
    panels[1].set(ylabel="memory in GiB", xlabel="seconds")
    panels[1].set_ylim(bottom=0)
    for axes in panels[:2]:
        axes.set_xlim(0, end)
        for index, span in enumerate(spans):
            axes.axvspan(span.begin.time, span.end.time, color=_BAND[index % 2], zorder=0, linewidth=0)
    for span in spans:
        if span.seconds > _LETTER * (len(span.name) + 1) * end:
            middle = (span.begin.time + span.end.time) / 2
            panels[0].text(middle, 1.06, span.name, ha="center", va="bottom", fontsize=8)
    if divided:
        _bars(panels[2], divided)
    return figure


def _shares(samples: Sequence[ResourceSample], cores: int) -> tuple[list[float], list[float]]:
    """Returns times and CPU utilisation (0..1) between samples that are at least `_SHORT` seconds apart."""
    times, shares = [], []
    before = samples[0] if samples else None
    for after in samples[1:]:
        assert before is not None
        if after.time - before.time < _SHORT:
            continue
        times.append(after.time)
        shares.append(min(1.0, (after.cpu - before.cpu) / ((after.time - before.time) * cores)))
        before = after
    return times, shares


def _bars(axes: Axes, divided: dict[str, dict[str, float]]) -> None:
    """Draws a stacked bar for each step that has parts."""
    present = dict.fromkeys(name for parts in divided.values() for name in parts)
    names = [*(name for name in _PARTS if name in present), *(name for name in present if name not in _PARTS)]
    left = np.zeros(len(divided))
    for name in names:
        widths = np.array([parts.get(name, 0.0) for parts in divided.values()])
        axes.barh(list(divided), widths, left=left, color=_PARTS.get(name, _OTHER), label=name, height=0.6)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)

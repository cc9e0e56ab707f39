"""Resources that each step of a run used: time, CPU, memory, and time by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstand.tracking.sampler import ResourceSample


@dataclass(frozen=True)
class StepUsage:
    """A step of a run: its name, and the resource samples at its beginning and end."""

    name: str
    begin: ResourceSample
    end: ResourceSample

    @property
    def seconds(self) -> float:
        return self.end.time - self.begin.time

    def share(self, cores: int) -> float:
        """Returns the mean CPU utilisation of the step as a share of `cores` processors."""
        return (self.end.cpu - self.begin.cpu) / (self.seconds * cores) if self.seconds else 0.0

    def peak(self, samples: Sequence[ResourceSample]) -> int:
        """Returns the largest sampled resident memory of the step, in bytes."""
        within = (sample.memory for sample in samples if self.begin.time <= sample.time <= self.end.time)
        return max([self.begin.memory, self.end.memory, *within])


def figures(
    spans: Sequence[StepUsage],
    samples: Sequence[ResourceSample],
    cores: int,
    parts: Mapping[str, Mapping[str, float]],
    photos: Mapping[str, int],
) -> dict[str, Any]:
    """Returns the resources of a run and of each of its steps for report.json.

    Args:
        spans: the steps in their order.
        samples: samples of the whole run.
        cores: processors that the process may use.
        parts: for some steps, seconds by part.
        photos: for some steps, the number of photos that passed the network.

    Returns:
        `cores`, `peak_memory` in bytes, and `steps`: by name `seconds`, `cpu` (mean share of the cores),
        `peak_memory`, where known `parts` (seconds by part) and `photos` with `photos_per_second`.
    """
    steps: dict[str, Any] = {}
    for span in spans:
        step: dict[str, Any] = {
            "seconds": round(span.seconds, 3),
            "cpu": round(span.share(cores), 3),
            "peak_memory": span.peak(samples),
        }
        if parts.get(span.name):
            step["parts"] = {part: round(seconds, 3) for part, seconds in parts[span.name].items()}
        if photos.get(span.name):
            step["photos"] = photos[span.name]
            step["photos_per_second"] = round(photos[span.name] / span.seconds, 1) if span.seconds else None
        steps[span.name] = step
    peak = max((sample.memory for sample in (*samples, *(span.end for span in spans))), default=0)
    return {"cores": cores, "peak_memory": peak, "steps": steps}

"""Rules on where the time goes."""

from collections.abc import Iterator

from headstand.learn.diagnose.evidence import Evidence
from headstand.learn.diagnose.finding import Finding

BOUND = 0.5
"""Share of a step that the network spends waiting for photos. From a half on, faster decoding gains more than a faster
network could."""

SHORT = 10.0
"""Seconds of waiting that nobody minds."""


def input_bound(evidence: Evidence) -> Iterator[Finding]:
    """Steps in which the network waits for photos to be decoded."""
    for wait in evidence.waits:
        if wait.waiting < max(SHORT, BOUND * wait.seconds):
            continue
        yield Finding(
            "input-bound",
            "warning",
            f"The step {wait.step!r} is input-bound",
            f"the network waited {wait.waiting:.0f} of {wait.seconds:.0f} s for photos to be decoded, "
            f"{wait.photos / wait.seconds:.0f} photos/s",
            "more processor cores, or smaller photos: scale the source down to twice --backbone.size, and prepare it "
            "again",
        )

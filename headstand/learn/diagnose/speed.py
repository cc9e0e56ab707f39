"""Rules on time."""

from collections.abc import Iterator

from headstand.learn.diagnose.evidence import Evidence
from headstand.learn.diagnose.finding import Finding, Suggestion

BOUND = 0.5
"""Share of a step that the network spends waiting for photos. From a half on, faster decoding gains more than a faster
network could."""

SHORT = 10.0
"""Seconds of waiting below which nothing is reported."""


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
            (
                Suggestion("use more processor cores"),
                Suggestion("scale the source photos down to twice --backbone.size, and prepare them again"),
            ),
        )

"""Diagnosis rule about time that the network spends waiting for decoded photos."""

from collections.abc import Iterator

from headstand.diagnosis.diagnosis_input import DiagnosisInput
from headstand.diagnosis.finding import Finding, Suggestion

BOUND = 0.5
"""Share of a step's duration spent waiting for photos from which on the step is input-bound. From one half on, faster
decoding gains more than a faster network could."""

SHORT = 10.0
"""Waiting time in seconds below which nothing is reported."""


def input_bound(evidence: DiagnosisInput) -> Iterator[Finding]:
    """Reports steps in which the network spends much of the time waiting for photos to be decoded."""
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

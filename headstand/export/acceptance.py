"""Export formats and the acceptance criteria for their conversions."""

import math
from dataclasses import dataclass

from headstand.export.parity import Parity
from headstand.export_formats import ONNX

LIMITS = {"float32": 1e-4, "float16": 1e-2, ONNX: 1e-4}
"""Largest difference of any probability. Conversion alone causes about 5e-6, half precision about 4e-3."""

AGREEMENT = 0.97
"""Smallest share of photos for which a quantized model must predict the trained model's class, and known or unknown."""

LOST = 0.005
"""Largest accuracy loss of a quantized model, as a share of the photos: rounded to whole photos, and at least one."""

MANY, REACH = 1000, 0.02
"""From this number of photos on, the upper end of the interval of the lost accuracy must stay below `REACH`."""


@dataclass(frozen=True)
class AcceptanceCriteria:
    """Acceptance criteria of a format, and those that a conversion does not meet; it passes if it meets all."""

    required: str
    unmet: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.unmet


def check(kind: str, parity: Parity) -> AcceptanceCriteria:
    """Returns the acceptance criteria for a format and those that the converted model does not meet.

    Comparisons are written so that NaN fails.

    Args:
        kind: one of `headstand.export_formats.FORMATS`, or `ONNX`.
        parity: comparison with the trained model.
    """
    return _exact(LIMITS[kind], parity) if kind in LIMITS else _quantized(parity)


def _exact(limit: float, parity: Parity) -> AcceptanceCriteria:
    unmet = []
    if not parity.largest_difference <= limit:
        unmet.append(f"a probability differs by {parity.largest_difference:.2g}")
    if parity.detection and not parity.detection.largest_difference <= limit:
        unmet.append(f"a similarity to the training photos differs by {parity.detection.largest_difference:.2g}")
    if clear := [each for each in parity.disagreeing if not each.margin <= limit]:
        unmet.append(f"{len(clear)} of {parity.count} photos get another class")
    similarity = ", every similarity too" if parity.detection else ""
    required = (
        f"every probability within {limit:g} of the trained model's{similarity}, and the same class for all photos "
        "whose two highest probabilities differ by more"
    )
    return AcceptanceCriteria(required, tuple(unmet))


def _quantized(parity: Parity) -> AcceptanceCriteria:
    unmet = []
    required = f"the same class for {AGREEMENT:.0%} of the photos"
    if not parity.finite:
        unmet.append("some probabilities are not finite")
    if not parity.agreement >= AGREEMENT:
        unmet.append(f"only {parity.agreement:.2%} of {parity.count} photos get the same class")
    if parity.detection:
        most = max(1, int((1 - AGREEMENT) * parity.count))
        required += f", known or unknown as by the trained model for {AGREEMENT:.0%} or all but one"
        # NaN differs from every number, and is never known.
        if not (parity.detection.changed <= most and math.isfinite(parity.detection.largest_difference)):
            unmet.append(f"{parity.detection.changed} of {parity.count} photos change between known and unknown")
    if parity.accuracy is not None:
        allowed = max(1, round(LOST * parity.count))
        required += f", at most {100 * LOST:g} points of accuracy lost, rounded to whole photos, at least one"
        lost = parity.accuracy.lost
        if not lost <= allowed:
            unmet.append(f"{lost} fewer of {parity.count} photos are classified correctly (allowed: {allowed})")
        if parity.count >= MANY:
            required += f", and the interval of the loss below {100 * REACH:g} points"
            if not (high := parity.accuracy.interval[1]) < REACH:
                unmet.append(f"the interval of the lost accuracy reaches {100 * high:.2f} points")
    return AcceptanceCriteria(required, tuple(unmet))

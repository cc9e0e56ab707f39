"""Findings about single pictures: those that show little, and those unlike the others in size or shape."""

from collections.abc import Callable, Sequence

import numpy as np

from headstand.prepare.doctor.examination import Exam, Measures
from headstand.prepare.doctor.findings import Case, Finding, finding

# Each bound lies well outside of 4,300 photos of yoga poses from the web, studio shots on white or black, silhouettes
# and line drawings among them: darkest 0..192, brightest 94..255, contrast 11..116, entropy 0.8..7.9, blur 0.11..0.58.
DARK = 80
"""Brightness, 0..255, that 99 % of a dark picture's pixels stay under."""

BRIGHT = 205
"""Brightness that 99 % of a bright picture's pixels stay over."""

CONTRAST = 4
"""Least standard deviation of the brightness."""

ENTROPY = 0.5
"""Least entropy in bits; a small silhouette on white has 0.8."""

BLUR = 0.63
"""Most blur; a Gaussian of 3 pixels' deviation at 256 pixels gives 0.67 to 0.9."""

SMALLEST = 64
"""Longer side in pixels under which blur says nothing."""

FEW = 10
"""Photos that must be there before one of them can be unlike the others."""

SMALLER, LARGER, SHAPE = 2.0, 3.0, 1.0
"""Least distance from the median, in doublings, of a small side, a large side and an unusual aspect ratio. Large photos
are scaled down without loss; small ones have nothing to show."""

DEVIATIONS = 5.0
"""Least distance from the median in robust standard deviations, 1.4826 times the median absolute deviation."""


def faint(exams: Sequence[Exam]) -> list[Finding]:
    """Dark, bright, empty and blurry pictures, the worst first; each is told once, in this order."""
    pictures = [(exam, exam.measures) for exam in exams if exam.measures]
    told: set[str] = set()
    found: list[Finding] = []

    def tell(code: str, bad: Callable[[Exam, Measures], bool], key: Callable[[Measures], float], text: str) -> None:
        some = [(key(measures), exam) for exam, measures in pictures if exam.name not in told and bad(exam, measures)]
        told.update(exam.name for _, exam in some)
        ranked = sorted(some, key=lambda pair: (pair[0], pair[1].name))
        found.extend(finding(code, [Case((exam.name,), text.format(abs(value))) for value, exam in ranked]))

    tell(
        "low_information",
        lambda _, m: (m.contrast < CONTRAST and m.brightest - m.darkest < 6 * CONTRAST) or m.entropy < ENTROPY,
        lambda m: m.entropy,
        "entropy {:.1f} bits",
    )
    tell("dark", lambda _, m: m.brightest < DARK, lambda m: m.brightest, "99 % darker than {:.0f} of 255")
    tell("bright", lambda _, m: m.darkest > BRIGHT, lambda m: -m.darkest, "99 % brighter than {:.0f} of 255")
    tell(
        "blurry",
        lambda exam, m: m.blur > BLUR and max(exam.width, exam.height) >= SMALLEST,
        lambda m: -m.blur,
        "blur {:.2f}",
    )
    return found


def outliers(exams: Sequence[Exam]) -> list[Finding]:
    """Photos far from the median side or aspect ratio."""
    usable = [exam for exam in exams if not exam.problem]
    if len(usable) < FEW:
        return []
    sides = np.array([exam.upright for exam in usable], dtype=float)
    area, shape = np.log2(sides).mean(1), np.log2(sides[:, 0] / sides[:, 1])
    found = []
    for code, values, below, above in (
        ("size_outlier", area, SMALLER, LARGER),
        ("aspect_outlier", shape, SHAPE, SHAPE),
    ):
        offset = values - np.median(values)
        distance = np.abs(offset)
        least = np.where(offset < 0, below, above)
        far = np.flatnonzero(distance > np.maximum(least, DEVIATIONS * 1.4826 * np.median(distance)))
        ranked = far[np.argsort(-distance[far], kind="stable")]
        cases = [Case((usable[k].name,), f"{sides[k][0]:.0f} x {sides[k][1]:.0f}") for k in ranked.tolist()]
        found += finding(code, cases)
    return found

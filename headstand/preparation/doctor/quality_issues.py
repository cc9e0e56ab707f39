"""Findings about image quality and size: dark, bright, blurry or empty pictures, outliers in size or aspect ratio."""

from collections.abc import Callable, Sequence

import numpy as np

from headstand.preparation.doctor.file_check import FileCheck
from headstand.preparation.doctor.issues import Issue, IssueCase, issue
from headstand.preparation.file_metadata import Measures

# Each bound lies well outside the range of 4,300 photos of yoga poses from the web, including studio shots on white or
# black, silhouettes and line drawings: darkest 0..192, brightest 94..255, contrast 11..116, entropy 0.8..7.9,
# blur 0.11..0.58.
DARK = 80
"""Brightness, 0..255, below which 99 % of the pixels of a dark picture are."""

BRIGHT = 205
"""Brightness, 0..255, above which 99 % of the pixels of a bright picture are."""

CONTRAST = 4
"""Minimum standard deviation of the brightness."""

ENTROPY = 0.5
"""Minimum entropy of the brightness histogram in bits; a small silhouette on white has 0.8."""

BLUR = 0.63
"""Maximum blur; a Gaussian with a standard deviation of 3 pixels at 256 pixels gives 0.67 to 0.9."""

SMALLEST = 64
"""Longer side in pixels below which the blur measure is meaningless."""

FEW = 10
"""Minimum number of photos for outlier detection."""

SMALLER, LARGER, SHAPE = 2.0, 3.0, 1.0
"""Minimum distance from the median in octaves (log2) of outliers: small size, large size, aspect ratio.

The bound for large photos is wider because they are scaled down without loss, while small ones lack detail."""

DEVIATIONS = 5.0
"""Minimum distance of an outlier from the median in robust standard deviations (1.4826 median absolute deviations)."""


def unclear(checks: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings `low_information`, `dark`, `bright` and `blurry`, each with the worst pictures first.

    A picture is in the first of these findings that applies.
    """
    pictures = [(check, check.file.measures) for check in checks if check.file.measures]
    reported: set[str] = set()
    found: list[Issue] = []

    def report(
        code: str, applies: Callable[[FileCheck, Measures], bool], key: Callable[[Measures], float], text: str
    ) -> None:
        cases = [
            (key(measures), check)
            for check, measures in pictures
            if check.name not in reported and applies(check, measures)
        ]
        reported.update(check.name for _, check in cases)
        ranked = sorted(cases, key=lambda pair: (pair[0], pair[1].name))
        found.extend(issue(code, [IssueCase((check.name,), text.format(abs(value))) for value, check in ranked]))

    report(
        "low_information",
        lambda _, m: (m.contrast < CONTRAST and m.brightest - m.darkest < 6 * CONTRAST) or m.entropy < ENTROPY,
        lambda m: m.entropy,
        "entropy {:.1f} bits",
    )
    report("dark", lambda _, m: m.brightest < DARK, lambda m: m.brightest, "99 % darker than {:.0f} of 255")
    report("bright", lambda _, m: m.darkest > BRIGHT, lambda m: -m.darkest, "99 % brighter than {:.0f} of 255")
    report(
        "blurry",
        lambda check, m: m.blur > BLUR and max(check.file.width, check.file.height) >= SMALLEST,
        lambda m: -m.blur,
        "blur {:.2f}",
    )
    return found


def outliers(checks: Sequence[FileCheck]) -> list[Issue]:
    """Returns the findings about photos whose size or aspect ratio is far from the median."""
    usable = [check for check in checks if not check.problem]
    if len(usable) < FEW:
        return []
    sides = np.array([check.file.upright for check in usable], dtype=float)
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
        cases = [IssueCase((usable[k].name,), f"{sides[k][0]:.0f} x {sides[k][1]:.0f}") for k in ranked.tolist()]
        found += issue(code, cases)
    return found

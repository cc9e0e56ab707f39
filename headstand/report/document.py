"""HTML elements of report and evaluation pages: key figures, plots and photos."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from headstand.html_layout import image, render

SHOWN = 176
"""Side of an embedded photo, in pixels."""

WIDE = 720
"""Width of a plot, in pixels, above which it scrolls on a narrow screen instead of shrinking until it is unreadable."""


def document(title: str, header: str, sections: dict[str, str], footer: str) -> str:
    """Returns a report page in the layout of `headstand.html_layout`.

    Args:
        title: title of the browser window, plain text.
        header: HTML above the links to the sections.
        sections: HTML of each section by title; empty sections are left out.
        footer: HTML below the sections.
    """
    # Callers escape all text that may be untrusted.
    head, foot = Markup(header), Markup(footer)  # noqa: S704
    written = {name: Markup(text) for name, text in sections.items() if text}  # noqa: S704
    return render("report", title, header=head, sections=written, footer=foot)


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Returns an HTML list of key figures; each is a name, a value and a note, all HTML."""
    shown = (f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="facts">{"".join(shown)}</dl>'


def spread(interval: list[float] | tuple[float, float]) -> str:
    """Returns an interval as text with three decimals."""
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


def plot(path: Path, text: str, whole: bool = False) -> str:
    """Returns a PNG file as an embedded HTML image; empty if the file does not exist.

    Args:
        path: the file.
        text: alternative text.
        whole: whether a plot wider than `WIDE` always keeps its size and scrolls.
    """
    if not path.is_file():
        return ""
    # Convert Markup to str, because text concatenated with Markup would be escaped.
    drawn = f"{image('png', path.read_bytes(), {'class': 'plot', 'alt': text})}"
    with Image.open(path) as opened:
        wide = opened.width > WIDE
    return f'<div class="wide{" whole" * whole}">{drawn}</div>' if wide else drawn


def pair(*plots: str) -> str:
    """Returns a container that shows plots side by side, or stacked on a narrow screen; empty without plots."""
    return f'<div class="pair">{"".join(plots)}</div>' if any(plots) else ""


def photo(pixels: np.ndarray, text: str) -> str:
    """Returns an image `uint8 [height, width, 3]` as an embedded JPEG of `SHOWN` x `SHOWN` pixels."""
    data = BytesIO()
    Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR).save(data, "JPEG", quality=80)
    return f"{image('jpeg', data.getvalue(), {'alt': text, 'loading': 'lazy'})}"

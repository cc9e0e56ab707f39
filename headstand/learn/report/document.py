"""Elements of report and evaluation pages: figures, plots, photos."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from headstand.layout import image, render

SHOWN = 176
"""Side of a photo on the page, in pixels."""

WIDE = 720
"""Width of a plot, in pixels, above which it is scrolled on a narrow screen instead of made too small to read."""


def document(title: str, header: str, sections: dict[str, str], footer: str) -> str:
    """The page in the layout of `headstand.layout`.

    Args:
        title: title of the browser window, plain text.
        header: HTML above the links to the sections.
        sections: HTML by title; empty ones are left out.
        footer: HTML.
    """
    # The callers escape what they did not write themselves.
    head, foot = Markup(header), Markup(footer)  # noqa: S704
    written = {name: Markup(text) for name, text in sections.items() if text}  # noqa: S704
    return render("report", title, header=head, sections=written, footer=foot)


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Key figures: name, value and a note."""
    shown = (f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="facts">{"".join(shown)}</dl>'


def spread(interval: list[float] | tuple[float, float]) -> str:
    """An interval of figures between 0 and 1, or of a loss."""
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


def plot(path: Path, text: str, whole: bool = False) -> str:
    """A PNG file as an element; empty if there is none.

    Args:
        path: the file.
        text: alternative text.
        whole: scroll it on every screen that is too narrow, and never make it smaller.
    """
    if not path.is_file():
        return ""
    # Plain text: text that is added to Markup would be escaped.
    drawn = f"{image('png', path.read_bytes(), {'class': 'plot', 'alt': text})}"
    with Image.open(path) as opened:
        wide = opened.width > WIDE
    return f'<div class="wide{" whole" * whole}">{drawn}</div>' if wide else drawn


def pair(*plots: str) -> str:
    """Plots side by side, one above the other on a narrow screen."""
    return f'<div class="pair">{"".join(plots)}</div>' if any(plots) else ""


def photo(pixels: np.ndarray, text: str) -> str:
    """A picture `uint8 [height, width, 3]` as a small square."""
    data = BytesIO()
    Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR).save(data, "JPEG", quality=80)
    return f"{image('jpeg', data.getvalue(), {'alt': text, 'loading': 'lazy'})}"

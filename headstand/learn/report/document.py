"""An HTML page that needs nothing beside it: its style and its pictures lie inside."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

SHOWN = 176
"""Side of a photo on the page, in pixels."""

WIDE = 720
"""Width of a plot, in pixels, above which it is scrolled on a phone: made as small as that it could not be read."""

_HERE = Path(__file__).parent


def document(title: str, header: str, sections: dict[str, str], footer: str) -> str:
    """The page, by the template beside this file.

    Args:
        title: of the window, as plain text.
        header: HTML above the links to the sections.
        sections: HTML by title; empty ones are left out.
        footer: HTML.
    """
    written = {name: text for name, text in sections.items() if text}
    links = "\n".join(f'<a href="#{anchor(name)}">{name}</a>' for name in written)
    body = "\n".join(f'<section id="{anchor(name)}"><h2>{name}</h2>{text}</section>' for name, text in written.items())
    style, page = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.html"))
    return Template(page).substitute(
        title=escape(title), style=style, header=header, links=links, sections=body, footer=footer
    )


def anchor(title: str) -> str:
    """The id of a section."""
    return title.lower().replace(" ", "-")


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Figures at a glance: what each is, its value, and a note under it."""
    shown = (f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="facts">{"".join(shown)}</dl>'


def spread(interval: list[float] | tuple[float, float]) -> str:
    """An interval of figures between 0 and 1, or of a loss."""
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


def plot(path: Path, text: str, whole: bool = False) -> str:
    """A PNG that lies there; nothing where it does not.

    Args:
        path: the file.
        text: what it shows, for those who do not see it.
        whole: scrolled on every screen that is too narrow, and never made smaller.
    """
    if not path.is_file():
        return ""
    image = f'<img class="plot" src="{_uri("png", path.read_bytes())}" alt="{escape(text)}">'
    with Image.open(path) as opened:
        wide = opened.width > WIDE
    return f'<div class="wide{" whole" * whole}">{image}</div>' if wide else image


def pair(*plots: str) -> str:
    """Plots side by side, one above the other on a narrow screen."""
    return f'<div class="pair">{"".join(plots)}</div>' if any(plots) else ""


def photo(pixels: np.ndarray, text: str) -> str:
    """A picture `uint8 [height, width, 3]` as a small square."""
    data = BytesIO()
    Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR).save(data, "JPEG", quality=80)
    return f'<img src="{_uri("jpeg", data.getvalue())}" alt="{escape(text)}" loading="lazy">'


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

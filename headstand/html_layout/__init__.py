"""Renders self-contained HTML pages from one Jinja2 layout: reports, evaluations, comparisons, doctor and explore.

`layout.html.j2` is the base template of every page, `sections.html.j2` that of pages with titled sections, and
`macros.html.j2` has the elements that several pages share. The templates escape all values except `Markup`.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_FOLDER = Path(__file__).parent
_STYLES = {"doctor": "doctor.css", "explore": "explore.css"}
"""Style sheet of each page that does not use `report.css`."""


def render(page: str, /, title: str, **values: Any) -> str:
    """Returns a complete HTML page.

    Args:
        page: name of the template: `report`, `evaluation`, `comparison`, `doctor` or `explore`.
        title: title of the browser window.
        values: variables of the template.
    """
    style = (_FOLDER / _STYLES.get(page, "report.css")).read_text(encoding="utf-8")
    template = _TEMPLATES.get_template(f"{page}.html.j2")
    return template.render(title=title, style=Markup(style), **values)  # noqa: S704 - a file of this package


def anchor(title: str) -> str:
    """Returns the HTML id of a section for its title."""
    return title.lower().replace(" ", "-")


def breakable(name: str) -> Markup:
    """Returns a class name, escaped, with a line break opportunity (`<wbr>`) after each underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def fixed(value: float, digits: int = 3) -> str:
    """Returns a number with a fixed number of decimals."""
    return f"{value:.{digits}f}"


def interval(ends: Sequence[float]) -> str:
    """Returns an interval as text with three decimals."""
    return "{:.3f}–{:.3f}".format(*ends)


def data_uri(kind: str, data: bytes) -> str:
    """Returns an encoded image of the format `kind` (png, jpeg or webp) as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def image(kind: str, data: bytes, attributes: Mapping[str, Any]) -> Markup:
    """Returns an `img` element with the image embedded as a data URI.

    Args:
        kind: file format: png, jpeg or webp.
        data: the encoded image.
        attributes: further attributes of the element.
    """
    rest = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in attributes.items())
    return Markup('<img src="{}"{}>').format(data_uri(kind, data), rest)


_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "anchor": anchor,
    "breakable": breakable,
    "thousands": "{:,}".format,
    "fixed": fixed,
    "percent": "{:.0%}".format,
    "interval": interval,
}

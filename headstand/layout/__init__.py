"""HTML pages that need no other file: one Jinja2 layout for training reports, evaluations, doctor and explore.

`layout.html.j2` is the frame of every page; each kind of page has a template NAME.html.j2 and a style NAME.css. The
templates escape all values but `Markup`.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_FOLDER = Path(__file__).parent


def render(page: str, /, title: str, **values: Any) -> str:
    """A page.

    Args:
        page: its template and style: `report`, `doctor` or `explore`.
        title: the title of the browser window.
        values: what the template takes.
    """
    style = Markup((_FOLDER / f"{page}.css").read_text(encoding="utf-8"))  # noqa: S704 - a file of this package
    return _TEMPLATES.get_template(f"{page}.html.j2").render(title=title, style=style, **values)


def anchor(title: str) -> str:
    """The id of a section."""
    return title.lower().replace(" ", "-")


def breakable(name: str) -> Markup:
    """A class name that may break after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def image(kind: str, data: bytes, attributes: Mapping[str, Any]) -> Markup:
    """An `img` element that contains its picture.

    Args:
        kind: file format: png, jpeg or webp.
        data: the encoded picture.
        attributes: other attributes of the element.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    rest = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in attributes.items())
    return Markup('<img src="{}"{}>').format(source, rest)


_TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"anchor": anchor, "breakable": breakable, "thousands": "{:,}".format}

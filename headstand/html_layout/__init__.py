"""Renders self-contained HTML pages from one Jinja2 layout: training reports, evaluations, doctor and explore.

`layout.html.j2` is the base template of every page. Each kind of page has a template NAME.html.j2 and a style sheet
NAME.css. The templates escape all values except `Markup`.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_FOLDER = Path(__file__).parent


def render(page: str, /, title: str, **values: Any) -> str:
    """Returns a complete HTML page.

    Args:
        page: name of the template and of the style sheet: `report`, `doctor` or `explore`.
        title: title of the browser window.
        values: variables of the template.
    """
    style = Markup((_FOLDER / f"{page}.css").read_text(encoding="utf-8"))  # noqa: S704 - a file of this package
    return _TEMPLATES.get_template(f"{page}.html.j2").render(title=title, style=style, **values)


def anchor(title: str) -> str:
    """Returns the HTML id of a section for its title."""
    return title.lower().replace(" ", "-")


def breakable(name: str) -> Markup:
    """Returns a class name, escaped, with a line break opportunity (`<wbr>`) after each underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def image(kind: str, data: bytes, attributes: Mapping[str, Any]) -> Markup:
    """Returns an `img` element with the image embedded as a data URI.

    Args:
        kind: file format: png, jpeg or webp.
        data: the encoded image.
        attributes: further attributes of the element.
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

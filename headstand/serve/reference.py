"""HTML page `/docs`: the OpenAPI description for people, without scripts and external resources."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from typing import Any

from headstand.serve.problem import KINDS

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8886; }
section { margin-top: 2.5rem; }
:target { outline: 2px solid; }
"""


def page(document: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    """Returns the HTML page of an OpenAPI document, its content type and its headers.

    The Content-Security-Policy in the headers allows only the page's own style sheet.
    """
    info = document["info"]
    parts = [
        f"<h1>{escape(info['title'])}</h1><p>{_prose(info['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
        *(
            _operation(path, method, found)
            for path, item in document["paths"].items()
            for method, found in item.items()
        ),
        _errors(),
        "<section><h2>Schemas</h2>",
        *(f'<h3 id="{name}">{name}</h3>{_code(schema)}' for name, schema in document["components"]["schemas"].items()),
        "</section>",
    ]
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, "text/html; charset=utf-8", {"Content-Security-Policy": policy}


def _operation(path: str, method: str, found: dict[str, Any]) -> str:
    parts = [f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{_prose(found['summary'])}."]
    parts.append(f" {_prose(found['description'])}</p>" if "description" in found else "</p>")
    rows = [
        (f"<code>{escape(item['name'])}</code>", item["in"], _prose(item["description"]))
        for item in found["parameters"]
    ]
    if rows:
        parts.append(_table(("parameter", "in", ""), rows))
    content = found.get("requestBody", {}).get("content", {})
    if content:
        types = [(f"<code>{escape(kind)}</code>", _schema(media)) for kind, media in content.items()]
        parts.append(_table(("body", "schema"), types))
    answers = [
        (status, _prose(answer["description"]), ", ".join(_schema(value) for value in answer["content"].values()))
        for status, answer in found["responses"].items()
    ]
    return "".join([*parts, _table(("answer", "", "schema"), answers), "</section>"])


def _errors() -> str:
    rows = [(f'<code id="{code}">{code}</code>', str(kind.status), escape(kind.title)) for code, kind in KINDS.items()]
    told = "<p>Codes are stable; sentences may change. An error is told as a <a href='#Problem'>Problem</a>.</p>"
    return f"<section><h2>Errors</h2>{told}{_table(('code', 'status', ''), rows)}</section>"


def _schema(media: dict[str, Any]) -> str:
    schema = media["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    return f'<a href="#{name}">{name}</a>' if name else _code(schema)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    first = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><tr>{first}</tr>{''.join(f'<tr>{_cells(row)}</tr>' for row in rows)}</table>"


def _cells(row: tuple[str, ...]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in row)


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"


def _prose(text: str) -> str:
    """Returns escaped HTML in which text between backticks becomes a `code` element."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))

"""Page `/docs`: Swagger UI for the OpenAPI description, and the list of all error codes."""

from importlib import resources
from typing import Any

from headstand.serve.api import Api, constant, dumps
from headstand.serve.page import file_handler, markup
from headstand.serve.problem import KINDS

_SWAGGER_UI = resources.files("flask_swagger_ui") / "dist"
"""Swagger UI's files; the blueprint of flask-swagger-ui is not used, because its page has an inline script."""


def add_routes(api: Api, document: dict[str, Any]) -> None:
    """Adds `/openapi.json`, `/docs` and the files of the page, all with the Content-Security-Policy of the web page."""
    html = markup.render("docs.html", title=document["info"]["title"], errors=KINDS)
    api.add("GET", "/openapi.json", constant(dumps(document)))
    api.add("GET", "/docs", file_handler(html.encode(), "text/html"))
    for folder, name, kind in (
        (markup.FOLDER, "docs.js", "text/javascript"),
        (markup.FOLDER, "docs.css", "text/css"),
        (_SWAGGER_UI, "swagger-ui-bundle.js", "text/javascript"),
        (_SWAGGER_UI, "swagger-ui.css", "text/css"),
    ):
        api.add("GET", f"/{name}", file_handler((folder / name).read_bytes(), kind), "/<asset>")

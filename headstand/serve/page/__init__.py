"""Web page at `/` for trying the model with a picture from a file, the clipboard, the camera or a URL."""

import hashlib

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_etags

from headstand import inputs
from headstand.serve.api import JSON, Api, Handler, Request, Response, dumps
from headstand.serve.page import markup
from headstand.serve.request_context import RequestContext

_HEADERS = {
    "Content-Security-Policy": markup.policy(),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Browsers revalidate each time: a new version shows at once, an unchanged one is a 304 response without a body.
    "Cache-Control": "no-cache",
}

_USAGE = 'POST /predict with {"url": "https://..."}, {"image": "<base64>"}, a form file "image", or the bytes'


def add_routes(api: Api) -> None:
    """Adds the routes of the page, its assets and the samples beside the bundle, whose files are read once, now.

    `/` returns JSON to clients that do not prefer HTML.
    """
    bundle = api.bundle
    pictures = markup.samples(bundle)
    html = file_handler(markup.html(bundle, pictures).encode(), "text/html")
    kind = bundle.input.kind
    usage = _USAGE + (f'; {{"{kind}": [[[...]]]}} too' if kind in inputs.REGISTERED else "")
    summary = dumps({"model": bundle.name, "classes": list(bundle.labels), "usage": usage})

    def home(request: Request, context: RequestContext) -> Response:
        accept = parse_accept_header(request.header("accept"), MIMEAccept)
        if accept.best_match([JSON, "text/html"]) == "text/html":
            response = html(request, context)
        else:
            response = Response(200, summary, {"Content-Type": JSON})
        response.headers["Vary"] = "Accept"
        return response

    api.add("GET", "/", home)
    for name, kind in markup.ASSETS.items():
        api.add("GET", f"/{name}", file_handler((markup.FOLDER / name).read_bytes(), kind), "/<asset>")
    for path in pictures.values():
        kind = markup.SAMPLE_TYPES[path.suffix]
        api.add(
            "GET", f"/{markup.SAMPLES}/{path.name}", file_handler(path.read_bytes(), kind), f"/{markup.SAMPLES}/<name>"
        )


def file_handler(data: bytes, kind: str) -> Handler:
    """Returns a handler that returns a file, or status 304 if the client has it already (RFC 9110, 13.1.2)."""
    etag = hashlib.sha256(data).hexdigest()[:32]
    charset = "; charset=utf-8" if kind.startswith("text/") or kind.endswith("+xml") else ""
    headers = {**_HEADERS, "ETag": f'"{etag}"'}

    def handler(request: Request, context: RequestContext) -> Response:
        if parse_etags(request.header("if-none-match")).contains_weak(etag):
            return Response(304, headers=dict(headers))
        return Response(200, data, {**headers, "Content-Type": kind + charset})

    return handler

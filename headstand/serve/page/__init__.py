"""Web page at `/` for trying the model with a picture that is dropped, pasted, chosen, taken or given by URL."""

import hashlib

from flask import Blueprint, Response, abort, jsonify, request

from headstand import inputs
from headstand.serve.bundle import Bundle
from headstand.serve.page import markup

_HEADERS = {
    "Content-Security-Policy": markup.policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Browsers revalidate each time: a new version shows at once, an unchanged one is a 304 response without a body.
    "Cache-Control": "no-cache",
}

_USAGE = 'POST /predict with {"url": "https://..."}, {"image": "<base64>"}, a form file "image", or the bytes'


def page(bundle: Bundle) -> Blueprint:
    """Returns the Flask blueprint of the page, its assets and the samples beside the bundle, all read once.

    `/` returns JSON to clients that do not prefer HTML.
    """
    pictures, usage = markup.samples(bundle), _USAGE
    if bundle.input.kind in inputs.REGISTERED:
        usage += f'; {{"{bundle.input.kind}": [[[...]]]}} too'
    files = {name: ((markup.FOLDER / name).read_bytes(), kind) for name, kind in markup.ASSETS.items()}
    files |= {
        f"{markup.SAMPLES}/{path.name}": (path.read_bytes(), markup.SAMPLE_TYPES[path.suffix])
        for path in pictures.values()
    }
    html = markup.html(bundle, pictures).encode()
    routes = Blueprint("page", __name__, static_folder=None)

    @routes.get("/")
    def home() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = _answer(html, "text/html")
        else:
            response = jsonify(
                model=bundle.name,
                classes=list(bundle.labels),
                usage=usage,
            )
        response.vary.add("Accept")
        return response

    @routes.get(f"/<any({', '.join(map(repr, markup.ASSETS))}):name>")
    def asset(name: str) -> Response:
        return _answer(*files[name])

    @routes.get(f"/{markup.SAMPLES}/<name>")
    def sample(name: str) -> Response:
        path = f"{markup.SAMPLES}/{name}"
        return _answer(*files[path]) if path in files else abort(404)

    return routes


def _answer(data: bytes, kind: str) -> Response:
    response = Response(data, mimetype=kind, headers=_HEADERS)
    response.set_etag(hashlib.sha256(data).hexdigest()[:32])
    response.make_conditional(request)
    return response

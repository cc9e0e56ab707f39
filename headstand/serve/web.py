"""The HTTP service: `POST /predict`, `/healthz`, and errors as JSON."""

import json
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from headstand.images import MAX_BYTES, ImageError
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.download import fetch
from headstand.serve.payload import ClientError, Fetch, PayloadError, image_bytes, told
from headstand.serve.refusal import DownloadError

MAX_BODY = (MAX_BYTES + 2) // 3 * 4 + 64 * 1024
"""Largest request body, in bytes: the largest image in base64, and room for what surrounds it."""

CONFIDENT = "Headstand-Confident"
"""Header of an answer: `false` where the highest probability is below the bundle's threshold."""

_STATUS = {"not_an_image": 415, "too_large": 413, "download_too_large": 413, "corrupt_image": 422}
_STATUS["unsupported_media_type"] = 415
_STATUS |= dict.fromkeys(("download_failed", "download_timeout", "http_error", "too_many_redirects"), 422)

_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Besides `image/...`: what clients say of a body when nobody told them what it is (the second is curl's habit)."""


def create_app(classifier: Classifier | None = None, *, fetch: Fetch = fetch) -> Flask:
    """Make the WSGI application.

    Args:
        classifier: what answers; by default the bundle that `default_model` finds is loaded now, so that a server
            without a model does not start.
        fetch: downloads a URL for a client.

    Raises:
        BundleError: there is no model, or it is not usable.
    """
    model = classifier or Classifier(default_model())
    app = Flask("headstand", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    # Base64 in a form field may be as long as a whole body; Werkzeug's default is 500 kB.
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.get("/")
    def usage() -> Response:
        return jsonify(
            model=model.bundle.name,
            classes=list(model.bundle.labels),
            usage='POST /predict with {"url": "https://..."}, {"image": "<base64>"}, a form file "image", or the bytes',
        )

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok", model=model.bundle.name)

    @app.post("/predict")
    def predict() -> Response:
        answer = model.predict(_image(fetch))
        response = jsonify(answer.probabilities)
        response.headers[CONFIDENT] = "true" if answer.confident else "false"
        return response

    @app.errorhandler(PayloadError)
    @app.errorhandler(DownloadError)
    @app.errorhandler(ImageError)
    def client_error(error: ClientError) -> tuple[Response, int]:
        return jsonify(told(error)), _STATUS.get(error.code, 400)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Any:
        response = error.get_response()  # keeps headers such as Allow
        code = error.name.lower().replace(" ", "_")
        response.data = json.dumps({"error": {"code": code, "message": error.description}})
        response.content_type = "application/json"
        return response

    @app.errorhandler(Exception)
    def our_fault(error: Exception) -> tuple[Response, int]:
        app.logger.exception("%s %s failed", request.method, request.path, exc_info=error)
        return jsonify(error={"code": "internal_error", "message": "the server failed; its log says why"}), 500

    return app


def _image(fetch: Fetch) -> bytes:
    """The image in the current request, whichever of the ways it came."""
    kind = request.mimetype
    if kind == "multipart/form-data":
        file = request.files.get("image") or request.files.get("file")
        return file.read() if file else image_bytes(request.form, fetch)
    if kind == "application/json" or kind.endswith("+json"):
        return image_bytes(_json(request.get_data(cache=False)), fetch)
    if kind in _RAW or kind.startswith("image/"):
        body = request.get_data(cache=False)
        if not body:
            raise PayloadError("no_image", "the request has no body")
        # No image starts with a brace: this is JSON whose sender did not say so.
        return image_bytes(_json(body), fetch) if body.lstrip()[:1] == b"{" else body
    raise PayloadError(
        "unsupported_media_type", f"cannot take a body of type {kind[:80]}: send JSON, a form or image/*"
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("bad_json", "the body is not JSON") from None

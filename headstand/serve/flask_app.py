"""Flask application of the HTTP service. docs/service.md, `/openapi.json` and `/docs` describe its interface."""

import json
import logging
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from headstand import __version__
from headstand.errors import HeadstandError
from headstand.images import ImageError
from headstand.serve import capacity, content, metrics, openapi, reference
from headstand.serve import classifier as classifiers
from headstand.serve.bundle import Bundle
from headstand.serve.capacity import AdmissionControl, Capacity, OverloadedError
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.download import fetch
from headstand.serve.download.refusal import DownloadError
from headstand.serve.logs import REQUESTS
from headstand.serve.metrics import Metrics
from headstand.serve.page import page
from headstand.serve.payload import ClientError, Fetch, PayloadError
from headstand.serve.predictor import CONFIDENT, Predictor
from headstand.serve.problem import MEDIA_TYPE, problem
from headstand.serve.request_context import RequestContext

REQUEST_ID = "X-Request-ID"
"""Header with the request's id in every response; a request may set it."""

_requests = logging.getLogger(REQUESTS)


def create_app(classifier: Classifier | None = None, *, fetch: Fetch = fetch, limits: Capacity | None = None) -> Flask:
    """Returns the WSGI application with its model loaded and run once.

    `app.extensions["headstand"]` is the classifier, `app.extensions["headstand.metrics"]` the metrics.

    Args:
        classifier: the model; by default the bundle that `default_model` returns is loaded now, so that a server
            without a model does not start.
        fetch: downloads a URL for a client.
        limits: capacity of a worker; by default the one for this machine.

    Raises:
        BundleError: there is no model, or it is not usable.
        HeadstandError: an environment variable for the capacity has an invalid value.
    """
    limits = limits or capacity.chosen()
    model = classifier or Classifier(
        classifiers.KEPT or default_model(), interpreters=limits.interpreters, threads=limits.threads
    )
    model.warm()
    app = Flask("headstand", static_folder=None)
    app.extensions["headstand"] = model
    app.config["MAX_CONTENT_LENGTH"] = content.MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    counts = Metrics(model.bundle, __version__, lambda: (rule.rule for rule in app.url_map.iter_rules()))
    app.extensions["headstand.metrics"] = counts
    _note_requests(app, counts)
    _tell_errors(app, counts)
    _predict(app, model, limits, counts, fetch)
    _describe(app, model.bundle, limits, counts)
    return app


def served(create: Callable[[], Flask] = create_app) -> Flask:
    """Returns the application for gunicorn; without a usable model it prints one line and exits."""
    try:
        return create()
    except HeadstandError as error:
        print(f"error: {error}", file=sys.stderr)
        # gunicorn's own status for an application that cannot be loaded, after which it stops. It would print the
        # traceback of an exception, and after another status start the worker again and again.
        sys.exit(4)


def _predict(app: Flask, model: Classifier, limits: Capacity, counts: Metrics, fetch: Fetch) -> None:
    gate = AdmissionControl(limits)
    predictor = Predictor(model, gate, counts, fetch)

    @app.post("/predict")
    def predict() -> Response:
        exchange: RequestContext = g.exchange
        top = content.top(request.args.getlist("top"))
        data = _body(exchange)
        with gate.admit(), counts.in_flight():
            with exchange.stage("receive"):
                image = content.one(request.content_type or "", data, predictor.downloader(exchange))
            del data
            answer = predictor.answer(image, exchange)
        response = _json(answer.leading(top))
        response.headers[CONFIDENT] = "true" if answer.confident else "false"
        return response

    @app.post("/predict/batch")
    def predict_batch() -> Response:
        exchange: RequestContext = g.exchange
        top = content.top(request.args.getlist("top"))
        data = _body(exchange)
        with gate.admit(), counts.in_flight():
            with exchange.stage("receive"):
                sources = content.several(request.content_type or "", data, limits.batch)
            del data
            return _json({"results": predictor.batch(sources, exchange, top)})


def _describe(app: Flask, bundle: Bundle, limits: Capacity, counts: Metrics) -> None:
    """Adds the routes that describe the service; all but `/metrics` return responses that are rendered once."""
    document = openapi.document(bundle, limits)
    fixed = {
        "/healthz": {"status": "ok", "model": bundle.name},
        "/readyz": {"status": "ready", "model": bundle.name},
        "/model": openapi.model(bundle),
        "/openapi.json": document,
    }
    app.register_blueprint(page(bundle))
    for path, value in fixed.items():
        _get(app, path, _dumps(value), "application/json")
    _get(app, "/docs", *reference.page(document))

    @app.get("/metrics")
    def render() -> Response:
        return Response(counts.render(), content_type=metrics.MEDIA_TYPE)


def _get(app: Flask, path: str, content: str, kind: str, headers: dict[str, str] | None = None) -> None:
    def answer() -> Response:
        return Response(content, content_type=kind, headers=headers)

    app.add_url_rule(path, path, answer, methods=["GET"])


def _note_requests(app: Flask, counts: Metrics) -> None:
    @app.before_request
    def begin() -> None:
        g.exchange = RequestContext(request.headers.get(REQUEST_ID))

    @app.after_request
    def end(response: Response) -> Response:
        exchange: RequestContext = g.exchange
        response.headers[REQUEST_ID] = exchange.id
        response.headers["X-Content-Type-Options"] = "nosniff"
        # Python's URL parser caches what it parses; a client's URL must not stay in memory.
        urllib.parse.clear_cache()  # type: ignore[attr-defined]
        seconds, sent, received = exchange.elapsed, response.content_length or 0, exchange.received
        method = request.method if request.method in metrics.METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "other"
        counts.request(method, route, response.status_code, seconds, received, sent)
        if exchange.seconds:
            counts.stages(exchange.seconds)
            response.headers["Server-Timing"] = exchange.timing
        if exchange.code:
            counts.error(exchange.code)
        if _requests.isEnabledFor(logging.INFO):
            _requests.info("", extra={"fields": _line(exchange, response, seconds, received, sent)})
        return response


def _line(exchange: RequestContext, response: Response, seconds: float, received: int, sent: int) -> dict[str, Any]:
    """Returns the log fields of a request, without query and body, and with only the hosts of URLs."""
    line = {
        "request_id": exchange.id,
        "method": request.method[:16],
        "path": request.path[:200],
        "status": response.status_code,
        "code": exchange.code,
        "ms": round(seconds * 1000, 2),
        "stages": {name: round(value * 1000, 2) for name, value in exchange.seconds.items()},
        "received": received,
        "sent": sent,
    }
    return line | {"hosts": exchange.hosts} if exchange.hosts else line


def _tell_errors(app: Flask, counts: Metrics) -> None:
    @app.errorhandler(PayloadError)
    @app.errorhandler(DownloadError)
    @app.errorhandler(ImageError)
    def client_error(error: ClientError) -> Response:
        return _problem(error.code, str(error))

    @app.errorhandler(ClientDisconnected)
    def cut_short(error: Exception) -> Response:
        return _problem("bad_request", "the body is cut short")

    @app.errorhandler(OverloadedError)
    def overloaded(error: OverloadedError) -> Response:
        response = _problem(error.code, str(error))
        response.headers["Retry-After"] = str(capacity.RETRY_AFTER)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        code = error.name.lower().replace(" ", "_")
        response = _problem(code, error.description or error.name, error.code or 500)
        for name, value in error.get_headers():
            if name != "Content-Type":  # keep others, such as Allow
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def our_fault(error: Exception) -> Response:
        app.logger.exception("%s %s failed (request %s)", request.method, request.path, g.exchange.id, exc_info=error)
        return _problem("internal_error", "the server failed; its log says why")


def _problem(code: str, detail: str, status: int = 400) -> Response:
    g.exchange.code = code
    told = problem(code, detail, status)
    return Response(_dumps({**told, "request_id": g.exchange.id}), status=int(told["status"]), content_type=MEDIA_TYPE)


def _json(value: Any) -> Response:
    return Response(_dumps(value), content_type="application/json")


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False) + "\n"


def _body(exchange: RequestContext) -> bytes:
    """Reads and returns the body of the request.

    Raises:
        RequestEntityTooLarge: the body is larger than `MAX_BODY`.
        PayloadError: the body is shorter than announced.
    """
    with exchange.stage("receive"):
        data = request.get_data(cache=False)
    exchange.received = len(data)
    if len(data) < (request.content_length or 0):
        raise PayloadError("bad_request", "the body is shorter than announced")
    return data

"""Flask application of the HTTP service, an adapter of `headstand.serve.api`.

docs/service.md, `/openapi.json` and `/docs` describe the interface.
"""

import sys
import urllib.parse
from collections.abc import Callable

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from headstand import __version__
from headstand.errors import HeadstandError
from headstand.serve import api, capacity, content, openapi, page, reference, service_metrics
from headstand.serve import classifier as classifiers
from headstand.serve.api import REQUEST_ID, Api
from headstand.serve.capacity import Capacity
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.download import fetch
from headstand.serve.payload import Fetch, PayloadError
from headstand.serve.request_context import RequestContext
from headstand.serve.service_metrics import Metrics


def create_app(classifier: Classifier | None = None, *, fetch: Fetch = fetch, limits: Capacity | None = None) -> Flask:
    """Returns the WSGI application with its model loaded and run once.

    `app.extensions["headstand"]` is the classifier, `app.extensions["headstand.api"]` the `Api`.

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
    counts = Metrics(model.bundle, __version__, lambda: {route.label for route in core.routes.values()})
    core = Api(model, limits, fetch=fetch, metrics=counts)
    core.add(
        "GET", "/metrics", lambda *_: api.Response(200, counts.render(), {"Content-Type": service_metrics.MEDIA_TYPE})
    )
    page.add_routes(core)
    reference.add_routes(core, openapi.document(model.bundle, limits, keys=bool(core.keys)))
    app = Flask("headstand", static_folder=None)
    app.extensions |= {"headstand": model, "headstand.api": core}
    app.config["MAX_CONTENT_LENGTH"] = content.MAX_BODY
    # Flask calls no view if this function returns a response, so it handles all paths and methods.
    app.before_request(lambda: _respond(core))
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


def _respond(core: Api) -> Response:
    """Returns the core's response to Flask's current request."""
    context = RequestContext(request.headers.get(REQUEST_ID))
    response = core.respond(
        api.Request(
            request.method,
            request.path,
            urllib.parse.parse_qs(request.environ.get("QUERY_STRING", ""), keep_blank_values=True),
            request.headers.get,
            _read,
        ),
        context,
    )
    # Python's URL parser caches what Flask parses; a client's URL must not stay in memory.
    urllib.parse.clear_cache()  # type: ignore[attr-defined]
    return Response(response.body, response.status, response.headers)


def _read() -> bytes:
    """Returns the body of Flask's current request, as `api.Request.read`."""
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise PayloadError(
            "request_entity_too_large", f"the body has more than {content.MAX_BODY:,} bytes, the most that is accepted"
        ) from None
    except ClientDisconnected:
        raise PayloadError("bad_request", "the body is incomplete") from None
    if len(body) < (request.content_length or 0):
        raise PayloadError("bad_request", "the body is shorter than its Content-Length")
    return body

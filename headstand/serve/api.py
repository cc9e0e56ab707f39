"""HTTP interface of one model without a web framework: takes a request, returns a response.

The HTTP service (`flask_app.py`), the AWS Lambda function (`lambda_handler.py`) and the SageMaker endpoint
(`endpoint.py`) only translate requests and responses. Routing, limits, errors, headers, log lines and metrics are here.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from headstand import __version__
from headstand.errors import ClientError
from headstand.serve import api_keys, capacity, content
from headstand.serve.api_keys import ApiKeys
from headstand.serve.capacity import AdmissionControl, Capacity
from headstand.serve.classifier import Classifier
from headstand.serve.logs import REQUESTS
from headstand.serve.payload import Fetch, PayloadError
from headstand.serve.predictor import Predictor
from headstand.serve.problem import MEDIA_TYPE, problem
from headstand.serve.request_context import RequestContext

if TYPE_CHECKING:  # Lambda has no prometheus_client
    from headstand.serve.service_metrics import Metrics

JSON = "application/json"

CONFIDENT = "Headstand-Confident"
"""Response header: `false` if the highest probability is below the bundle's threshold, else `true`."""

KNOWN = "Headstand-Known"
"""Response header: `false` if the image is unlike the training photos, else `true`; absent if the model cannot tell."""

REQUEST_ID = "X-Request-ID"
"""Header with the request's id in every response; a request may set it."""

FAULT = "the server failed; its log contains the reason"

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, {REQUEST_ID}",
    "Access-Control-Max-Age": "86400",
}
_EXPOSED = f"{CONFIDENT}, {KNOWN}, Retry-After, Server-Timing, {REQUEST_ID}"
"""Response headers that a page of another origin may read (CORS)."""

_requests = logging.getLogger(REQUESTS)


@dataclass(slots=True)
class Request:
    """HTTP request.

    Attributes:
        method: in upper case.
        path: decoded, without the query.
        query: all values of each parameter.
        header: returns the value of a header by its name in lower case; None if there is none.
        read: reads and returns the whole body, at most `content.MAX_BODY` bytes; called at most once. Raises
            PayloadError if the body is too large, incomplete or not decodable.
        line_length: approximate length of the first line (method, path and query), which is limited to
            `content.MAX_LINE`; 0 if the server has already checked it.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    header: Callable[[str], str | None]
    read: Callable[[], bytes]
    line_length: int = 0

    @property
    def content_type(self) -> str:
        """The header Content-Type; empty if there is none."""
        return self.header("content-type") or ""


@dataclass(slots=True)
class Response:
    """HTTP response; `headers` include the Content-Type. For HEAD the adapter leaves out the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request, RequestContext], Response]


class Route(NamedTuple):
    """Handler of one path.

    Attributes:
        method: "GET", which includes HEAD, or "POST".
        handler: returns the response to a request.
        label: the path in the metrics, where several paths may share a label.
    """

    method: str
    handler: Handler
    label: str


class Api:
    """Application for one model: `respond` returns the response to a request.

    Args:
        classifier: the loaded model.
        limits: capacity of this process.
        fetch: downloads a URL for a client; `fetch(url, timeout=seconds)` if the request has a deadline.
        metrics: counts the requests; None for no metrics.
        cors: allow pages of all origins, or of the origin in `HEADSTAND_ORIGIN`, to use the interface.
        keys: one of them is required for each POST, which are the predictions; by default those of the environment.

    Attributes:
        draining: whether this process finishes its last requests; `/readyz` then returns status 503.

    Raises:
        HeadstandError: as `api_keys.configured`.
    """

    def __init__(
        self, classifier: Classifier, limits: Capacity, *, fetch: Fetch, metrics: "Metrics | None" = None,
        cors: bool = False, keys: ApiKeys | None = None,
    ) -> None:  # fmt: skip
        self.keys = api_keys.configured() if keys is None else keys
        self.draining = False
        self.bundle, self.limits = classifier.bundle, limits
        self._admission = AdmissionControl(limits)
        self.predictor = Predictor(classifier, self._admission, fetch)
        self._metrics, self._cors = metrics, cors
        self.routes: dict[str, Route] = {}
        self.add("POST", "/predict", self.predict)
        self.add("POST", "/predict/batch", self.predict_batch)
        self.add("GET", "/healthz", constant(dumps({"status": "ok", "model": self.bundle.name})))
        self.add("GET", "/readyz", self._readyz)
        self.add("GET", "/model", constant(dumps(self._model())))

    def add(self, method: str, path: str, handler: Handler, label: str | None = None) -> None:
        """Adds a route, or replaces the one of the same path; `label` is by default the path."""
        self.routes[path] = Route(method, handler, label or path)

    def respond(self, request: Request, context: RequestContext, path: str | None = None) -> Response:
        """Returns the response to a request and logs and counts it; every exception becomes an error response.

        Args:
            request: the request.
            context: context of this request.
            path: the path to route by, if it is not the path of the request, as behind a gateway with a prefix.
        """
        route = self.routes.get(request.path if path is None else path)
        try:
            response = self._dispatch(request, route, context)
        except ClientError as error:
            response = self._problem(context, error.code, str(error))
        except Exception:
            response = self._problem(context, "internal_error", FAULT)
            return self._finish(request, route, response, context, failed=True)
        return self._finish(request, route, response, context)

    def refuse(self, code: str, detail: str) -> Response:
        """Returns, logs and counts the response to a request that could not be read."""
        context = RequestContext()
        return self._finish(None, None, self._problem(context, code, detail), context)

    def predict(self, request: Request, context: RequestContext) -> Response:
        """Handles `POST /predict`: classifies one image."""
        top = content.top(request.query.get("top", ()))
        body = self._body(request, context)
        with self._admission.admit, self._in_flight():
            with context.stage("receive"):
                image = content.one(request.content_type, body, self.predictor.downloader(context))
            del body  # up to 28 MB, while the image is decoded
            prediction = self.predictor.predict(image, context)
        headers = {"Content-Type": JSON, CONFIDENT: "true" if prediction.confident else "false"}
        if prediction.known is not None:
            headers[KNOWN] = "true" if prediction.known else "false"
        return Response(200, dumps(prediction.leading(top)), headers)

    def predict_batch(self, request: Request, context: RequestContext) -> Response:
        """Handles `POST /predict/batch`: classifies several images."""
        top = content.top(request.query.get("top", ()))
        body = self._body(request, context)
        with self._admission.admit, self._in_flight():
            with context.stage("receive"):
                sources = content.several(request.content_type, body, self.limits.batch)
            del body
            results = self.predictor.batch(sources, context, top)
        return Response(200, dumps({"results": results}), {"Content-Type": JSON})

    def ready(self) -> dict[str, Any]:
        """Returns the JSON object of `/readyz` for a service that is ready."""
        return {"status": "ready", "model": self.bundle.name}

    def error(self, context: RequestContext, code: str, detail: str) -> dict[str, Any]:
        """Returns the problem object of an error, and sets the error code of the request."""
        context.code = code
        return {**problem(code, detail), "request_id": context.id}

    def log(self, context: RequestContext, status: int, fields: Mapping[str, Any], *, failed: bool = False) -> None:
        """Logs one line for a request, without query and body, and with only the hosts of URLs.

        Args:
            context: context of the request.
            status: HTTP status of the response.
            fields: further fields.
            failed: whether the server failed: the line has the level ERROR and the current exception's traceback.
        """
        level = logging.ERROR if failed else logging.INFO
        if not _requests.isEnabledFor(level):
            return
        line = {
            "request_id": context.id,
            **context.fields,
            **fields,
            "status": status,
            "code": context.code,
            "ms": round(context.elapsed * 1000, 2),
            "stages": {name: round(value * 1000, 2) for name, value in context.seconds.items()},
            "images": len(context.confident),
            "not_confident": context.confident.count(False),
            "not_known": context.known.count(False),
        }
        line |= {"codes": context.codes} if context.codes else {}
        line |= {"hosts": context.hosts} if context.hosts else {}
        _requests.log(level, "", extra={"fields": line}, exc_info=failed)

    def _dispatch(self, request: Request, route: Route | None, context: RequestContext) -> Response:
        if request.line_length > content.MAX_LINE:
            raise PayloadError("uri_too_long", "the path and query of the request are too long")
        if request.method == "OPTIONS" and self._cors:
            return Response(204, headers=dict(_PREFLIGHT))
        if route is None:
            return self._problem(
                context, "not_found", "there is nothing at this path: POST an image to /predict, or GET /model"
            )
        methods = ("GET", "HEAD", "OPTIONS") if route.method == "GET" else ("OPTIONS", "POST")
        if request.method == "OPTIONS":
            return Response(200, headers={"Allow": ", ".join(methods)})
        if request.method not in methods:
            response = self._problem(context, "method_not_allowed", f"this path supports {', '.join(methods)}")
            response.headers["Allow"] = ", ".join(methods)
            return response
        if route.method == "POST" and not self.keys.admits(request.header("authorization")):
            detail = "predictions need an API key: send the header `Authorization: Bearer KEY`"
            return self._problem(context, "unauthorized", detail)
        return route.handler(request, context)

    def _finish(
        self, request: Request | None, route: Route | None, response: Response, context: RequestContext, *,
        failed: bool = False,
    ) -> Response:  # fmt: skip
        """Adds the headers that all responses have, then logs and counts the request."""
        headers, sent = response.headers, len(response.body)
        headers[REQUEST_ID] = context.id
        headers["X-Content-Type-Options"] = "nosniff"
        if context.seconds:
            headers["Server-Timing"] = context.timing
        if self._cors:
            headers["Access-Control-Allow-Origin"] = os.environ.get("HEADSTAND_ORIGIN") or "*"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        if self._metrics:
            method, label = request.method if request else "other", route.label if route else "other"
            self._metrics.record(context, method, label, response.status, sent)
        fields = {"method": request.method[:16], "path": request.path[:200]} if request else {}
        self.log(context, response.status, {**fields, "received": context.received, "sent": sent}, failed=failed)
        return response

    def _problem(self, context: RequestContext, code: str, detail: str) -> Response:
        members = self.error(context, code, detail)
        response = Response(members["status"], dumps(members), {"Content-Type": MEDIA_TYPE})
        if code == "unauthorized":
            response.headers["WWW-Authenticate"] = "Bearer"
        if members["status"] == 503:
            response.headers["Retry-After"] = str(capacity.RETRY_AFTER)
        return response

    def _body(self, request: Request, context: RequestContext) -> bytes:
        with context.stage("receive"):
            body = request.read()
        context.received = len(body)
        return body

    def _readyz(self, request: Request, context: RequestContext) -> Response:
        if self.draining:
            return self._problem(context, "not_ready", "this process finishes its last requests")
        if not self.predictor.works():
            return self._problem(context, "not_ready", "the model fails; the log contains the reason")
        return Response(200, dumps(self.ready()), {"Content-Type": JSON})

    def _in_flight(self) -> Any:
        return self._metrics.in_flight() if self._metrics else nullcontext()

    def _model(self) -> dict[str, Any]:
        """Returns the JSON object of `/model`.

        `digest` is the SHA-256 over the bundle's contents; `certificate` is the export's comparison with the trained
        model, or null if the bundle has none.
        """
        bundle = self.bundle
        return {
            "name": bundle.name,
            "labels": list(bundle.labels),
            "takes": bundle.input.kind,
            "shape": list(bundle.input.shape),
            "size": bundle.size,
            "threshold": bundle.threshold,
            "known_threshold": bundle.known_threshold,
            "digest": bundle.metadata["digest"],
            "certificate": bundle.metadata.get("certificate"),
            "version": __version__,
        }


def constant(body: bytes) -> Handler:
    """Returns a handler that always returns this JSON."""
    return lambda request, context: Response(200, body, {"Content-Type": JSON})


def dumps(value: Any) -> bytes:
    """Returns a value as JSON, with a newline; raises ValueError for NaN and infinity."""
    return (json.dumps(value, allow_nan=False) + "\n").encode()

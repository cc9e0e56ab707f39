"""AWS Lambda handler: returns the answer to one event. docs/lambda.md describes the events and the answers."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from headstand.images import ImageError
from headstand.serve import capacity, content, lambda_events
from headstand.serve.capacity import AdmissionControl, Capacity, OverloadedError
from headstand.serve.classifier import Classifier
from headstand.serve.content import Source
from headstand.serve.download import TIMEOUT, fetch
from headstand.serve.download.refusal import DownloadError
from headstand.serve.lambda_events import Request
from headstand.serve.logs import REQUESTS
from headstand.serve.payload import PayloadError, image_bytes
from headstand.serve.predictor import BATCH_SECONDS, CONFIDENT, Predictor
from headstand.serve.problem import MEDIA_TYPE, problem
from headstand.serve.request_context import RequestContext

_SHARE = 0.8
"""Fraction of an invocation's remaining time that a download or a batch may take; the rest is for the answer."""

_CORE = 1769
"""Megabytes of memory for which Lambda gives one whole core
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""

_MISTAKES = (PayloadError, DownloadError, ImageError, OverloadedError)
"""Errors of the client, which are reported to it; all others are faults of the service."""

_requests = logging.getLogger(REQUESTS)


class LambdaFunction:
    """Lambda function for one model.

    Args:
        classifier: the loaded model.
        limits: capacity of the instance; by default `chosen()`.
        fetch: downloads a URL for a client, with the signature of `headstand.serve.download.fetch`.
    """

    def __init__(
        self, classifier: Classifier, limits: Capacity | None = None, *, fetch: Callable[..., bytes] = fetch
    ) -> None:
        self.classifier, self.limits, self.fetch = classifier, limits or chosen(), fetch
        # Lambda gives an instance one event at a time, so no request waits or is refused.
        self.gate = AdmissionControl(self.limits)

    def answer(self, event: Any, context: Any = None) -> dict[str, Any]:
        """Returns the answer to an invocation.

        Args:
            event: `{"url": ...}`, `{"image": base64}`, a list of them, an HTTP event, or a warm-up event.
            context: Lambda's context object, for the request's id and the remaining time. None outside of Lambda.

        Returns:
            `{class: probability}`, highest first; for a list `{"results": [...]}` as from the HTTP service's
            `/predict/batch`; `{"error": problem}` for an error of the client. For an HTTP event, a response with this
            as its body. A fault of the service is raised, so that Lambda counts it, or is status 500 for HTTP.
        """
        request = lambda_events.request(event)
        invocation = _Invocation(self, request, context)
        return invocation.http(request) if request else invocation.direct(event)


class _Invocation:
    """State of one invocation: the request, and the values for its log line."""

    def __init__(self, function: LambdaFunction, request: Request | None, context: Any) -> None:
        self._bundle, self._limits, self._fetch = function.classifier.bundle, function.limits, function.fetch
        self._context = context
        given = request.headers.get("x-request-id") if request else None
        self._aws_id: str | None = getattr(context, "aws_request_id", None)
        self._exchange = RequestContext(given)
        if self._exchange.id != given and self._aws_id:
            self._exchange = RequestContext(self._aws_id)
        self._predictor = Predictor(function.classifier, function.gate, self, self._in_time)
        self._images, self._unsure, self._codes = 0, 0, list[str]()

    def answer(self, confident: bool) -> None:
        """Counts an image that was classified."""
        self._images += 1
        self._unsure += not confident

    def error(self, code: str) -> None:
        """Records the error code of a batch image that could not be classified."""
        self._codes.append(code)

    def direct(self, event: Any) -> dict[str, Any]:
        """Returns the answer to a direct invocation, without HTTP."""
        status, line = 200, {"form": "direct"}
        try:
            if _is_ping(event):
                value = self._ready()
            elif isinstance(event, list):
                value = self._batch(content.listed(event, self._limits.batch), None)
            else:
                value = self._one(partial(image_bytes, event), None)[0]
        except _MISTAKES as error:
            told = self._problem(error.code, str(error))
            status, value = told["status"], {"error": told}
        except Exception as error:
            self._exchange.code = "internal_error"
            self._log(500, line, error)
            raise
        self._log(status, line)
        return value

    def http(self, request: Request) -> dict[str, Any]:
        """Returns the HTTP response to a request that came through a gateway, function URL or load balancer."""
        if request.method == "OPTIONS":
            return lambda_events.preflight(request)
        fault, headers = None, {"Content-Type": "application/json"}
        try:
            status, value, more = self._route(request)
            headers |= more
        except _MISTAKES as error:
            value = self._problem(error.code, str(error))
            if isinstance(error, OverloadedError):
                headers["Retry-After"] = str(capacity.RETRY_AFTER)
        except Exception as error:
            fault = error
            value = self._problem("internal_error", "the server failed; its log says why")
        if self._exchange.code:
            status = value["status"]
            headers["Content-Type"] = MEDIA_TYPE
        headers["X-Request-ID"] = self._exchange.id
        if self._exchange.seconds:
            headers["Server-Timing"] = self._exchange.timing
        body = json.dumps(value, allow_nan=False) + "\n"
        line = {"form": "http", "method": request.method[:16], "path": request.path[:200]}
        self._log(status, line | {"received": request.length, "sent": len(body)}, fault)
        return lambda_events.response(request, status, headers, "" if request.method == "HEAD" else body)

    def _route(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        """Returns status, JSON value and further headers; a gateway's stage or prefix before the path is ignored."""
        if request.line > content.MAX_LINE:
            raise PayloadError("uri_too_long", "the path and query of the request are too long")
        last = request.path.rstrip("/").rpartition("/")[2]
        if request.method == "POST":
            top = content.top(request.query.get("top", []))
            if last == "batch" or _is_list(request):
                with self._exchange.stage("receive"):
                    sources = content.several(request.content_type, request.body, self._limits.batch)
                return 200, self._batch(sources, top), {}
            value, confident = self._one(lambda fetch: content.one(request.content_type, request.body, fetch), top)
            return 200, value, {CONFIDENT: "true" if confident else "false"}
        if request.method not in ("GET", "HEAD"):
            value = self._problem("method_not_allowed", "this path takes GET and POST")
            return 405, value, {"Allow": "GET, HEAD, OPTIONS, POST"}
        if last == "model":
            from headstand.serve import openapi

            return 200, openapi.model(self._bundle), {}
        # A load balancer requests / as its health check.
        if last in ("", "healthz", "readyz"):
            return 200, self._ready(), {}
        return 404, self._problem("not_found", "POST an image to /predict, or GET /model"), {}

    def _one(self, source: Source, top: int | None) -> tuple[dict[str, Any], bool]:
        with self._exchange.stage("receive"):
            image = source(self._predictor.downloader(self._exchange))
        answer = self._predictor.answer(image, self._exchange)
        return answer.leading(top), answer.confident

    def _batch(self, sources: list[Source], top: int | None) -> dict[str, Any]:
        return {"results": self._predictor.batch(sources, self._exchange, top, self._left(BATCH_SECONDS))}

    def _ready(self) -> dict[str, Any]:
        return {"status": "ready", "model": self._bundle.name}

    def _problem(self, code: str, detail: str) -> dict[str, Any]:
        self._exchange.code = code
        return {**problem(code, detail), "request_id": self._exchange.id}

    def _in_time(self, url: str) -> bytes:
        return self._fetch(url, timeout=self._left(TIMEOUT))

    def _left(self, most: float) -> float:
        """Returns `most` seconds, or less if the invocation ends earlier: Lambda would stop it without an answer."""
        left = getattr(self._context, "get_remaining_time_in_millis", None)
        return min(most, _SHARE * left() / 1000) if left else most

    def _log(self, status: int, fields: dict[str, Any], fault: Exception | None = None) -> None:
        """Logs the line of this invocation, without query and body, and with only the host of a URL."""
        level = logging.ERROR if fault else logging.INFO
        if not _requests.isEnabledFor(level):
            return
        exchange = self._exchange
        line = {
            "request_id": exchange.id,
            "aws_request_id": self._aws_id,
            **fields,
            "status": status,
            "code": exchange.code,
            "ms": round(exchange.elapsed * 1000, 2),
            "stages": {name: round(value * 1000, 2) for name, value in exchange.seconds.items()},
            "images": self._images,
            "unsure": self._unsure,
        }
        line |= {"codes": self._codes} if self._codes else {}
        line |= {"hosts": exchange.hosts} if exchange.hosts else {}
        _requests.log(level, "", extra={"fields": line}, exc_info=fault)


def chosen(environment: Mapping[str, str] = os.environ) -> Capacity:
    """Returns the capacity of a Lambda instance: one image at a time, on the cores that its memory size includes.

    Raises:
        HeadstandError: as `capacity.chosen`.
    """
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    cores = max(1, int(memory) // _CORE) if memory.isdigit() else 1
    return capacity.chosen({"HEADSTAND_THREADS": str(cores), **environment}, cores=1)


def _is_list(request: Request) -> bool:
    """Returns whether the body is a JSON list, which no image starts like; one path accepts both."""
    if content.is_json(request.kind) or request.kind in content.RAW:
        return request.body.lstrip()[:1] == b"["
    return False


def _is_ping(event: Any) -> bool:
    """Returns whether an event only keeps the function warm, as schedules and common plug-ins send it."""
    if not isinstance(event, Mapping):
        return False
    if event.get("source") in ("aws.events", "aws.scheduler", "serverless-plugin-warmup"):
        return True
    return any(event.get(name) for name in ("warmup", "warmer", "ping"))

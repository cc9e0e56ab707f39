"""AWS Lambda handler, an adapter of `headstand.serve.api`. docs/lambda.md describes the events and the responses."""

import os
from collections.abc import Mapping
from typing import Any

from headstand.errors import ClientError
from headstand.serve import capacity, content, lambda_events
from headstand.serve.api import Api, Request, Response
from headstand.serve.capacity import Capacity
from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from headstand.serve.payload import Fetch, image_bytes
from headstand.serve.request_context import RequestContext

_SHARE = 0.8
"""Fraction of an invocation's remaining time that a download or a batch may take; the rest is for the response."""

_CORE = 1769
"""Megabytes of memory for which Lambda gives one whole core
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""


class LambdaFunction:
    """Lambda function for one model.

    Args:
        classifier: the loaded model.
        limits: capacity of the instance; by default `chosen()`. Lambda gives an instance one event at a time, so no
            request waits or is refused.
        fetch: downloads a URL for a client, with the signature of `headstand.serve.download.fetch`.
    """

    def __init__(self, classifier: Classifier, limits: Capacity | None = None, *, fetch: Fetch = fetch) -> None:
        self._api = Api(classifier, limits or chosen(), fetch=fetch, cors=True)
        self._api.add("POST", "/predict", self._predict)

    def handle(self, event: Any, context: Any = None) -> dict[str, Any]:
        """Returns the response to an invocation.

        Args:
            event: `{"url": ...}`, `{"image": base64}`, a list of them, an HTTP event, or a warm-up event.
            context: Lambda's context object, for the request's id and the remaining time. None outside of Lambda.

        Returns:
            `{class: probability}`, highest first; for a list `{"results": [...]}` as from the HTTP service's
            `/predict/batch`; `{"error": problem}` for an error of the client. For an HTTP event, a response with this
            as its body. A fault of the service is raised, so that Lambda counts it, or is status 500 for HTTP.
        """
        found = lambda_events.request(event)
        aws_id = getattr(context, "aws_request_id", None)
        milliseconds = getattr(context, "get_remaining_time_in_millis", None)
        request_context = RequestContext(
            found[0].header("x-request-id") if found else None,
            aws_id,
            fields={"aws_request_id": aws_id, "form": "http" if found else "direct"},
            time_left=lambda: _SHARE * milliseconds() / 1000 if milliseconds else float("inf"),
        )
        if found is None:
            return self._direct(event, request_context)
        request, form = found
        response = self._api.respond(request, request_context, _path(request))
        return lambda_events.response(form, request.method, response)

    def _direct(self, event: Any, context: RequestContext) -> dict[str, Any]:
        """Returns the response to a direct invocation, without HTTP."""
        api, status = self._api, 200
        try:
            if _is_warm_up(event):
                value = api.ready()
            elif isinstance(event, list):
                sources = content.listed(event, api.limits.batch)
                value = {"results": api.predictor.batch(sources, context, None)}
            else:
                with context.stage("receive"):
                    image = image_bytes(event, api.predictor.downloader(context))
                value = api.predictor.predict(image, context).probabilities
        except ClientError as error:
            problem = api.error(context, error.code, str(error))
            status, value = problem["status"], {"error": problem}
        except Exception:
            context.code = "internal_error"
            api.log(context, 500, {}, failed=True)
            raise
        api.log(context, status, {})
        return value

    def _predict(self, request: Request, context: RequestContext) -> Response:
        """Handles a POST of one image, or of a batch if the body is a JSON list, which no image starts like."""
        body = request.read()
        kind = content.media_type(request.content_type)
        is_list = (content.is_json(kind) or kind in content.RAW) and body.lstrip()[:1] == b"["
        handler = self._api.predict_batch if is_list else self._api.predict
        request.read = lambda: body
        return handler(request, context)


def chosen(environment: Mapping[str, str] = os.environ) -> Capacity:
    """Returns the capacity of a Lambda instance: one image at a time, on the cores that its memory size includes.

    Raises:
        HeadstandError: as `capacity.chosen`.
    """
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    cores = max(1, int(memory) // _CORE) if memory.isdigit() else 1
    return capacity.chosen({"HEADSTAND_THREADS": str(cores), **environment}, cores=1)


def _path(request: Request) -> str:
    """Returns the path to route by: without a gateway's stage or prefix; a POST to any path is a prediction."""
    last = request.path.rstrip("/").rpartition("/")[2]
    if request.method == "POST":
        return "/predict/batch" if last == "batch" else "/predict"
    # A load balancer requests / as its health check.
    return "/readyz" if last in ("", "healthz") else f"/{last}"


def _is_warm_up(event: Any) -> bool:
    """Returns whether an event only keeps the function warm, as schedules and common plug-ins send it."""
    if not isinstance(event, Mapping):
        return False
    if event.get("source") in ("aws.events", "aws.scheduler", "serverless-plugin-warmup"):
        return True
    return any(event.get(name) for name in ("warmup", "warmer", "ping"))

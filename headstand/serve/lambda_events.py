"""Conversion between HTTP and Lambda events of API Gateway, function URLs and Application Load Balancers.

The event formats are AWS's: API Gateway's REST APIs send payload format 1.0, HTTP APIs and function URLs format 2.0
(https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html), Application
Load Balancers their own format
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html).
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from headstand import inputs
from headstand.serve.content import MAX_BODY, MAX_LINE, is_json, media_type
from headstand.serve.payload import PayloadError

EXPOSED = "Headstand-Confident, Retry-After, Server-Timing, X-Request-ID"
"""Response headers that a page of another origin may read (CORS)."""


@dataclass(frozen=True)
class Request:
    """HTTP request of a Lambda event.

    Attributes:
        form: format of the response: "gateway", "balancer", or "balancer, several" for multi-value headers.
        method: in upper case.
        path: without API Gateway's stage in format 2.0.
        line: approximate length of method, path and query, which are the first line of an HTTP request.
        query: all values of each parameter; empty if `line` exceeds `MAX_LINE`.
        headers: last value of each header, by name in lower case.
        text: the body as in the event.
        encoded: whether `text` is base64.
    """

    form: str
    method: str
    path: str
    line: int
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    text: str = field(repr=False)
    encoded: bool

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def kind(self) -> str:
        """The body's media type, in lower case and without parameters."""
        return media_type(self.content_type)

    @property
    def length(self) -> int:
        """Approximate size of the body in bytes, from the length of its text."""
        return len(self.text) * 3 // 4 if self.encoded else len(self.text)

    @cached_property
    def body(self) -> bytes:
        """The body as bytes, decoded at the first access.

        Raises:
            PayloadError: the body is too large, is not base64, or was damaged because the gateway passed it as text.
        """
        if self.length > MAX_BODY:
            raise PayloadError("request_entity_too_large", f"the body has more than {MAX_BODY:,} bytes")
        if self.encoded:
            try:
                return base64.b64decode(self.text, validate=True)
            except (binascii.Error, ValueError):
                raise PayloadError("bad_base64", "the event's body is not the base64 that it says") from None
        if "\ufffd" in self.text and not is_json(self.kind):
            raise PayloadError(
                "bad_request",
                "the gateway passed the bytes on as text, which spoils them: let it take this type as binary "
                '(BinaryMediaTypes), or send {"image": "<base64>"}',
            )
        return self.text.encode("utf-8", "surrogatepass")


def request(event: Any) -> Request | None:
    """Returns the HTTP request of a Lambda event, or None if the event is not an HTTP event.

    Hand-written events, as in Lambda's console, may lack the context, the method and the path: one with a body is a
    POST to `/predict`.
    """
    if not isinstance(event, Mapping):
        return None
    context = _mapping(event.get("requestContext"))
    body, encoded = event.get("body"), event.get("isBase64Encoded") is True
    if isinstance(body, Mapping | list):  # hand-written event; gateways send JSON as text
        body = json.dumps(body)
    text = body if isinstance(body, str) else ""
    if isinstance(http := context.get("http"), Mapping):
        # The path starts with the stage unless it is the default one.
        path, stage = _string(event.get("rawPath")), f"/{context.get('stage')}"
        path = path.removeprefix(stage) if f"{path}/".startswith(f"{stage}/") else path
        verb, raw = _string(http.get("method")).upper(), _string(event.get("rawQueryString"))
        line = len(verb) + len(path) + len(raw)
        query = parse_qs(raw, keep_blank_values=True) if line <= MAX_LINE else {}
        return Request("gateway", verb, path, line, query, _headers(event), text, encoded)
    if not isinstance(event.get("httpMethod"), str):
        if not text or any(event.get(name) is not None for name in ("url", "image", *inputs.REGISTERED)):
            return None
        event = {"path": event.get("rawPath") or "/predict", **event, "httpMethod": "POST"}
    balancer = "elb" in context
    verb, path, query = _string(event["httpMethod"]).upper(), _string(event.get("path")), _query(event)
    line = len(verb) + len(path) + sum(len(name) + len(value) + 2 for name, found in query.items() for value in found)
    if line > MAX_LINE:
        query = {}
    if balancer:  # load balancers do not decode the query
        query = {unquote_plus(name): list(map(unquote_plus, values)) for name, values in query.items()}
    several = balancer and isinstance(event.get("multiValueHeaders"), Mapping)
    form = "balancer, several" if several else "balancer" if balancer else "gateway"
    return Request(form, verb, path, line, query, _headers(event), text, encoded)


def response(request: Request, status: int, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    """Returns a response in the format of the request's gateway or load balancer, with CORS headers for browsers."""
    whole = {
        **headers,
        "Access-Control-Allow-Origin": os.environ.get("HEADSTAND_ORIGIN") or "*",
        "Access-Control-Expose-Headers": EXPOSED,
        "X-Content-Type-Options": "nosniff",
    }
    answer: dict[str, Any] = {"statusCode": status, "body": body, "isBase64Encoded": False}
    if request.form != "gateway":
        answer["statusDescription"] = f"{status} {HTTPStatus(status).phrase}"
    if request.form == "balancer, several":
        return answer | {"multiValueHeaders": {name: [value] for name, value in whole.items()}}
    return answer | {"headers": whole}


def preflight(request: Request) -> dict[str, Any]:
    """Returns the response to a CORS preflight request (OPTIONS)."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Content-Type, X-Request-ID",
        "Access-Control-Max-Age": "86400",
    }
    return response(request, 204, allowed, "")


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, values in _mapping(event.get("multiValueHeaders")).items():
        if isinstance(values, list) and values:
            found[name.lower()] = _string(values[-1])
    return found | {name.lower(): _string(value) for name, value in _mapping(event.get("headers")).items()}


def _query(event: Mapping[str, Any]) -> dict[str, list[str]]:
    many = _mapping(event.get("multiValueQueryStringParameters"))
    if many:
        return {name: list(map(_string, values)) for name, values in many.items() if isinstance(values, list)}
    return {name: [_string(value)] for name, value in _mapping(event.get("queryStringParameters")).items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    """Returns the value if it is a mapping, else an empty one: gateways send null for an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""

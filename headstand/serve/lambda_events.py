"""Conversion between HTTP and Lambda events of API Gateway, function URLs and Application Load Balancers.

The event formats are AWS's: API Gateway's REST APIs send payload format 1.0, HTTP APIs and function URLs format 2.0
(https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html), Application
Load Balancers their own format
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html).
"""

import base64
import binascii
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from headstand import inputs
from headstand.serve.api import Request, Response
from headstand.serve.content import MAX_BODY, MAX_LINE, is_json, media_type
from headstand.serve.payload import PayloadError


def request(event: Any) -> tuple[Request, str] | None:
    """Returns the HTTP request of a Lambda event and the form of its response; None if it is not an HTTP event.

    The form is "gateway", "balancer", or "balancer, several" for a load balancer with multi-value headers. Hand-written
    events, as in Lambda's console, may lack the context, the method and the path: one with a body is a POST to
    `/predict`. The query is empty if the first line is longer than `MAX_LINE`.
    """
    if not isinstance(event, Mapping):
        return None
    context = _mapping(event.get("requestContext"))
    if isinstance(http := context.get("http"), Mapping):
        # The path starts with the stage unless it is the default one.
        path, stage = _string(event.get("rawPath")), f"/{context.get('stage')}"
        path = path.removeprefix(stage) if f"{path}/".startswith(f"{stage}/") else path
        method, raw = _string(http.get("method")).upper(), _string(event.get("rawQueryString"))
        line_length = len(method) + len(path) + len(raw)
        query = parse_qs(raw, keep_blank_values=True) if line_length <= MAX_LINE else {}
        return _request(event, method, path, query, line_length), "gateway"
    if not isinstance(event.get("httpMethod"), str):
        body = event.get("body")
        has_body = isinstance(body, Mapping | list) or (isinstance(body, str) and body)
        if not has_body or any(event.get(name) is not None for name in ("url", "image", *inputs.REGISTERED)):
            return None
        event = {"path": event.get("rawPath") or "/predict", **event, "httpMethod": "POST"}
    balancer = "elb" in context
    method, path, query = _string(event["httpMethod"]).upper(), _string(event.get("path")), _query(event)
    items = ((name, value) for name, values in query.items() for value in values)
    line_length = len(method) + len(path) + sum(len(name) + len(value) + 2 for name, value in items)
    if line_length > MAX_LINE:
        query = {}
    if balancer:  # load balancers do not decode the query
        query = {unquote_plus(name): list(map(unquote_plus, values)) for name, values in query.items()}
    several = balancer and isinstance(event.get("multiValueHeaders"), Mapping)
    form = "balancer, several" if several else "balancer" if balancer else "gateway"
    return _request(event, method, path, query, line_length), form


def response(form: str, method: str, found: Response) -> dict[str, Any]:
    """Returns a response in the form of the gateway or load balancer.

    Args:
        form: as returned by `request`.
        method: method of the request.
        found: the response; its body is text.
    """
    result: dict[str, Any] = {
        "statusCode": found.status,
        "body": "" if method == "HEAD" else found.body.decode(),
        "isBase64Encoded": False,
    }
    if form != "gateway":
        result["statusDescription"] = f"{found.status} {HTTPStatus(found.status).phrase}"
    if form == "balancer, several":
        return result | {"multiValueHeaders": {name: [value] for name, value in found.headers.items()}}
    return result | {"headers": found.headers}


def _request(
    event: Mapping[str, Any], method: str, path: str, query: Mapping[str, list[str]], line_length: int
) -> Request:
    header = _headers(event).get
    return Request(method, path, query, header, lambda: _body(event, header("content-type") or ""), line_length)


def _body(event: Mapping[str, Any], content_type: str) -> bytes:
    """Returns the body of an event as bytes.

    Raises:
        PayloadError: the body is too large, is not base64, or was damaged because the gateway passed it as text.
    """
    text, encoded = event.get("body"), event.get("isBase64Encoded") is True
    if isinstance(text, Mapping | list):  # hand-written event; gateways send JSON as text
        text = json.dumps(text)
    text = _string(text)
    if (len(text) * 3 // 4 if encoded else len(text)) > MAX_BODY:
        raise PayloadError("request_entity_too_large", f"the body has more than {MAX_BODY:,} bytes")
    if encoded:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise PayloadError(
                "bad_base64", "the body of the event is not base64, although isBase64Encoded is true"
            ) from None
    if "\ufffd" in text and not is_json(media_type(content_type)):
        raise PayloadError(
            "bad_request",
            "the gateway passed the bytes on as text, which damages them: add this media type to its BinaryMediaTypes, "
            'or send {"image": "<base64>"}',
        )
    return text.encode("utf-8", "surrogatepass")


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Returns the last value of each header, by name in lower case."""
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

"""Error responses in the format of RFC 9457 (`application/problem+json`), with stable codes."""

from dataclasses import dataclass
from http import HTTPStatus

from headstand import inputs

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemType:
    """HTTP status and fixed title of one error code."""

    status: int
    title: str


KINDS = {
    "bad_request": ProblemType(400, "The request is malformed"),
    "bad_http": ProblemType(400, "The request is not HTTP/1.1"),
    "bad_query": ProblemType(400, "A query parameter is wrong"),
    "bad_json": ProblemType(400, "The body is not JSON"),
    "bad_base64": ProblemType(400, "The image is not base64"),
    "no_image": ProblemType(400, "There is no image, or more than one"),
    "too_many_images": ProblemType(400, "The batch has too many images"),
    "bad_url": ProblemType(400, "The URL cannot be used"),
    "forbidden_address": ProblemType(400, "The URL leads where the service does not go"),
    "not_found": ProblemType(404, "There is nothing at this path"),
    "method_not_allowed": ProblemType(405, "This path does not take this method"),
    "too_large": ProblemType(413, "The image is too large"),
    "download_too_large": ProblemType(413, "What the URL holds is too large"),
    "request_entity_too_large": ProblemType(413, "The body is too large"),
    "uri_too_long": ProblemType(414, "The request's first line is too long"),
    "not_an_image": ProblemType(415, "The data is not an image of a known format"),
    "unsupported_media_type": ProblemType(415, "The body has a type that is not taken"),
    "corrupt_image": ProblemType(422, "The image is damaged"),
    "batch_timeout": ProblemType(422, "The batch took too long before it came to this image"),
    "download_failed": ProblemType(422, "The download failed"),
    "download_timeout": ProblemType(422, "The download took too long"),
    "http_error": ProblemType(422, "The URL's server did not answer with 200"),
    "too_many_redirects": ProblemType(422, "The URL redirects too often"),
    "headers_too_large": ProblemType(431, "The request's headers are too large"),
    "internal_error": ProblemType(500, "The server failed"),
    "overloaded": ProblemType(503, "The service has as much to do as it takes on"),
    **{code: ProblemType(*entry) for kind in inputs.REGISTERED.values() for code, entry in kind.errors.items()},
}
"""All error codes that clients may receive."""


def kind(code: str, status: int = 400) -> ProblemType:
    """Returns status and title of an error code; for an unlisted code, `status` and its HTTP phrase."""
    return KINDS.get(code) or ProblemType(status, HTTPStatus(status).phrase)


def problem(code: str, detail: str, status: int = 400) -> dict[str, str | int]:
    """Returns a problem object: `type`, `title`, `status`, `detail` and `code`; responses add `request_id`.

    Args:
        code: a key of `KINDS`, or another code with a `status`.
        detail: a sentence about this occurrence.
        status: the HTTP status of a code that is not in `KINDS`.
    """
    of = kind(code, status)
    return {"type": f"/docs#{code}", "title": of.title, "status": of.status, "detail": detail, "code": code}

"""Error responses in the format of RFC 9457 (`application/problem+json`), with stable codes."""

from dataclasses import dataclass

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
    "bad_query": ProblemType(400, "A query parameter is invalid"),
    "bad_json": ProblemType(400, "The body is not JSON"),
    "bad_base64": ProblemType(400, "The image is not base64"),
    "no_image": ProblemType(400, "There is no image, or more than one"),
    "too_many_images": ProblemType(400, "The batch has too many images"),
    "bad_url": ProblemType(400, "The URL cannot be used"),
    "forbidden_address": ProblemType(400, "The URL's address is not allowed"),
    "unauthorized": ProblemType(401, "The request has no valid API key"),
    "not_found": ProblemType(404, "There is nothing at this path"),
    "method_not_allowed": ProblemType(405, "This path does not support this method"),
    "too_large": ProblemType(413, "The image is too large"),
    "download_too_large": ProblemType(413, "The content of the URL is too large"),
    "request_entity_too_large": ProblemType(413, "The body is too large"),
    "uri_too_long": ProblemType(414, "The path and query are too long"),
    "not_an_image": ProblemType(415, "The data is not an image of a known format"),
    "unsupported_media_type": ProblemType(415, "The body has an unsupported media type"),
    "corrupt_image": ProblemType(422, "The image is damaged"),
    "batch_timeout": ProblemType(422, "The time limit of the batch was over before this image"),
    "download_failed": ProblemType(422, "The download failed"),
    "download_timeout": ProblemType(422, "The download took too long"),
    "http_error": ProblemType(422, "The URL's server did not respond with status 200"),
    "too_many_redirects": ProblemType(422, "The URL redirects too often"),
    "headers_too_large": ProblemType(431, "The request's headers are too large"),
    "internal_error": ProblemType(500, "The server failed"),
    "overloaded": ProblemType(503, "The service is overloaded"),
    "not_ready": ProblemType(503, "The service is not ready"),
    **{code: ProblemType(*entry) for kind in inputs.REGISTERED.values() for code, entry in kind.errors.items()},
}
"""All error codes that clients may receive."""


def problem(code: str, detail: str) -> dict[str, str | int]:
    """Returns a problem object: `type`, `title`, `status`, `detail` and `code`; responses add `request_id`.

    Args:
        code: a key of `KINDS`.
        detail: a sentence about this occurrence.
    """
    kind = KINDS[code]
    return {"type": f"/docs#{code}", "title": kind.title, "status": kind.status, "detail": detail, "code": code}

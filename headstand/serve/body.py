"""The body of a Flask request becomes the bytes of one image, or of several."""

from functools import partial

from flask import Request

from headstand.serve import content
from headstand.serve.content import MAX_BODY, Source
from headstand.serve.payload import Fetch, PayloadError

__all__ = ["MAX_BODY", "one", "several"]


def one(request: Request, fetch: Fetch) -> bytes:
    """Return the image in a request, whichever of the ways it came; raises as `content.one`."""
    return content.one(request.content_type or "", partial(_read, request), fetch)


def several(request: Request, limit: int) -> list[Source]:
    """Return the images of a batch, in their order: a JSON list, or a form's files; raises as `content.several`."""
    return content.several(request.content_type or "", partial(_read, request), limit)


def _read(request: Request) -> bytes:
    # Not Werkzeug's own form parser, which has no limit for the headers of a part.
    body = request.get_data(cache=False)
    # The server ends the stream where the client stops sending.
    if len(body) < (request.content_length or 0):
        raise PayloadError("bad_request", "the body is shorter than its Content-Length, or was sent too slowly")
    return body

"""The body of a Flask request becomes the bytes of one image, or of several."""

from functools import partial

from flask import Request

from headstand.serve import content
from headstand.serve.content import FORM, MAX_BODY, Source
from headstand.serve.payload import Fetch, PayloadError, image_bytes

__all__ = ["MAX_BODY", "one", "several"]


def one(request: Request, fetch: Fetch) -> bytes:
    """The image in a request, whichever of the ways it came; raises as `content.one`."""
    if request.mimetype == FORM:
        file = request.files.get("image") or request.files.get("file")
        return file.read() if file else image_bytes(request.form, fetch)
    return content.one(request.mimetype, partial(_read, request), fetch)


def several(request: Request, limit: int) -> list[Source]:
    """The images of a batch, in their order: a JSON list, or a form with several files; raises as `content.several`."""
    if request.mimetype == FORM:
        files = [file for _, file in request.files.items(multi=True)]
        return content.limited([lambda _, file=file: file.read() for file in files], limit)  # type: ignore[misc]
    return content.several(request.mimetype, partial(_read, request), limit)


def _read(request: Request) -> bytes:
    body = request.get_data(cache=False)
    # The server ends the stream where the client stops sending.
    if len(body) < (request.content_length or 0):
        raise PayloadError("bad_request", "the body is shorter than it was announced, or came too slowly")
    return body

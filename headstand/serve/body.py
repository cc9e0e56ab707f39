"""The body of an HTTP request becomes the bytes of one image, or of several."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from flask import Request

from headstand.images import MAX_BYTES
from headstand.serve.payload import Fetch, PayloadError, image_bytes

MAX_BODY = (MAX_BYTES + 2) // 3 * 4 + 64 * 1024
"""Largest request body, in bytes: the largest image in base64, and room for what surrounds it."""

RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "application/x-image", "")
"""Besides `image/...`: what clients say of a body when nobody told them what it is (the second is curl's habit, the
third SageMaker's)."""

_MAX_PARTS = 100_000
"""Most commas, brackets and braces in a body of JSON: a body of nothing else becomes objects of thirty times its size,
and Python does nothing else while it makes them."""

Source = Callable[[Fetch], bytes]
"""One image of a batch; it is fetched or decoded from base64 only when its turn comes, so that memory holds one."""


def one(request: Request, fetch: Fetch) -> bytes:
    """The image in a request, whichever of the ways it came.

    Raises:
        PayloadError: there is none.
        DownloadError: as `fetch`.
        ImageError: `too_large`.
    """
    kind = request.mimetype
    if kind == "multipart/form-data":
        file = request.files.get("image") or request.files.get("file")
        return file.read() if file else image_bytes(request.form, fetch)
    if _is_json(kind):
        return image_bytes(_json(_read(request)), fetch)
    if kind in RAW or kind.startswith("image/"):
        body = _read(request)
        if not body:
            raise PayloadError("no_image", "the request has no body")
        # No image starts with a brace: this is JSON whose sender did not say so.
        return image_bytes(_json(body), fetch) if body.lstrip()[:1] == b"{" else body
    raise PayloadError(
        "unsupported_media_type", f"cannot take a body of type {kind[:80]}: send JSON, a form or image/*"
    )


def several(request: Request, limit: int) -> list[Source]:
    """The images of a batch, in their order.

    Args:
        request: a JSON list of `{"url": ...}` and `{"image": base64}`, or a form with several files.
        limit: most images.

    Raises:
        PayloadError: no such list, an empty one, or one over the limit. What is wrong with one image only shows when
            it is asked for.
    """
    sources: list[Source]
    if request.mimetype == "multipart/form-data":
        files = [file for _, file in request.files.items(multi=True)]
        sources = [lambda _, file=file: file.read() for file in files]  # type: ignore[misc]
    elif _is_json(request.mimetype) or request.mimetype in RAW:
        items = _json(_read(request))
        if not isinstance(items, list):
            raise PayloadError("bad_request", 'send a list: [{"url": "https://..."}, {"image": "<base64>"}]')
        sources = [partial(image_bytes, item) for item in items]
    else:
        raise PayloadError(
            "unsupported_media_type",
            f"cannot take a body of type {request.mimetype[:80]}: send a JSON list or a form with files",
        )
    if not sources:
        raise PayloadError("no_image", "the batch is empty")
    if len(sources) > limit:
        raise PayloadError("too_many_images", f"the batch has {len(sources):,} images; at most {limit} are taken")
    return sources


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _read(request: Request) -> bytes:
    body = request.get_data(cache=False)
    # The server ends the stream where the client stops sending.
    if len(body) < (request.content_length or 0):
        raise PayloadError("bad_request", "the body is shorter than it was announced, or came too slowly")
    return body


def _json(body: bytes) -> Any:
    # Counted wherever they stand: base64 has none of them, and a URL few.
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_PARTS:
        raise PayloadError("bad_json", f"the body is JSON of more than {_MAX_PARTS:,} parts")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise PayloadError("bad_json", "the body is not JSON") from None


def _no_number(text: str) -> NoReturn:
    """Python would take NaN and Infinity, which JSON (RFC 8259, 6) does not have."""
    raise ValueError(text)

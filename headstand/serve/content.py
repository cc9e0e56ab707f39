"""The bytes of a request body become one image, or several; the same for HTTP and Lambda."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from headstand.images import MAX_BYTES
from headstand.serve.payload import Fetch, PayloadError, image_bytes

MAX_BODY = (MAX_BYTES + 2) // 3 * 4 + 64 * 1024
"""Largest request body, in bytes: the largest image in base64, and 64 KiB for what surrounds it."""

FORM = "multipart/form-data"

RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "application/x-image", "")
"""Besides `image/...`: the types that clients send when they do not know the type of a body (the second is curl's
default, the third SageMaker's)."""

_MAX_PARTS = 100_000
"""Most commas, brackets and braces in a JSON body: a body of nothing else becomes objects of thirty times its size,
and Python holds its global lock while it parses them."""

Source = Callable[[Fetch], bytes]
"""One image of a batch, fetched or decoded from base64 only when it is needed, so that memory holds one at a time."""

Read = Callable[[], bytes]
"""Reads a body; called only if its type is accepted."""


def one(content_type: str, read: Read, fetch: Fetch) -> bytes:
    """Return the image in a body.

    Args:
        content_type: the header `Content-Type`, empty where there is none.
        read: returns the body.
        fetch: downloads a URL for a client.

    Raises:
        PayloadError: there is no image.
        DownloadError: as `fetch`.
        ImageError: `too_large`.
    """
    kind = media_type(content_type)
    if kind == FORM:
        from headstand.serve import form

        found = form.parse(content_type, read())
        image = found.image()
        return image_bytes(found.fields, fetch) if image is None else image
    if is_json(kind):
        return image_bytes(_json(read()), fetch)
    if kind in RAW or kind.startswith("image/"):
        body = read()
        if not body:
            raise PayloadError("no_image", "the request has no body")
        # No image starts with a brace: this is JSON with another Content-Type.
        return image_bytes(_json(body), fetch) if body.lstrip()[:1] == b"{" else body
    raise PayloadError(
        "unsupported_media_type", f"cannot take a body of type {kind[:80]}: send JSON, a form or image/*"
    )


def several(content_type: str, read: Read, limit: int) -> list[Source]:
    """Return the images of a batch in their order: a JSON list of `{"url": ...}` and `{"image": base64}`, or a form.

    Args:
        content_type: the header `Content-Type`, empty where there is none.
        read: returns the body.
        limit: most images.

    Raises:
        PayloadError: no such list, an empty one, or one over the limit. An error of one image is raised when that
            image is asked for.
    """
    kind = media_type(content_type)
    if kind == FORM:
        from headstand.serve import form

        files = form.parse(content_type, read()).files
        return limited([lambda _, data=data: data for _, _, data in files], limit)  # type: ignore[misc]
    if not is_json(kind) and kind not in RAW:
        raise PayloadError(
            "unsupported_media_type",
            f"cannot take a body of type {kind[:80]}: send a JSON list or a form with files",
        )
    return listed(_json(read()), limit)


def listed(items: Any, limit: int) -> list[Source]:
    """Return the images of a list of mappings; raises as `several`."""
    if not isinstance(items, list):
        raise PayloadError("bad_request", 'send a list: [{"url": "https://..."}, {"image": "<base64>"}]')
    return limited([partial(image_bytes, item) for item in items], limit)


def limited(sources: list[Source], limit: int) -> list[Source]:
    """Return the sources if there are not too few or too many; raises as `several`."""
    if not sources:
        raise PayloadError("no_image", "the batch is empty")
    if len(sources) > limit:
        raise PayloadError("too_many_images", f"the batch has {len(sources):,} images; at most {limit} are taken")
    return sources


def top(values: Sequence[str]) -> int | None:
    """Return how many classes a query asks for by its values of `top`; None for all.

    Raises:
        PayloadError: `bad_query`.
    """
    if not values:
        return None
    text = values[0]
    if len(values) > 1 or len(text) > 6 or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise PayloadError("bad_query", '"top" must be one whole number of at least 1')
    return int(text)


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Return whether a media type is JSON."""
    return kind == "application/json" or kind.endswith("+json")


def _json(body: bytes) -> Any:
    # Counted anywhere in the body: base64 has none of them, and a URL few.
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_PARTS:
        raise PayloadError("bad_json", f"the body is JSON of more than {_MAX_PARTS:,} parts")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise PayloadError("bad_json", "the body is not JSON") from None


def _no_number(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python accepts and JSON (RFC 8259, 6) does not have."""
    raise ValueError(text)

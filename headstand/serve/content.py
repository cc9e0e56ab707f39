"""What clients send, whoever received it: the bytes of a body become one image, or several."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from headstand.images import MAX_BYTES
from headstand.serve.payload import Fetch, PayloadError, image_bytes

MAX_BODY = (MAX_BYTES + 2) // 3 * 4 + 64 * 1024
"""Largest request body, in bytes: the largest image in base64, and room for what surrounds it."""

FORM = "multipart/form-data"

RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "application/x-image", "")
"""Besides `image/...`: what clients say of a body when nobody told them what it is (the second is curl's habit, the
third SageMaker's)."""

_MAX_PARTS = 100_000
"""Most commas, brackets and braces in a body of JSON: a body of nothing else becomes objects of thirty times its size,
and Python does nothing else while it makes them."""

Source = Callable[[Fetch], bytes]
"""One image of a batch; it is fetched or decoded from base64 only when its turn comes, so that memory holds one."""

Read = Callable[[], bytes]
"""Reads a body; called only where its type is one that is taken."""


def one(kind: str, read: Read, fetch: Fetch) -> bytes:
    """The image in a body that is no form.

    Args:
        kind: the body's media type, in small letters and without parameters.
        read: gives the body.
        fetch: downloads a URL for a client.

    Raises:
        PayloadError: there is none.
        DownloadError: as `fetch`.
        ImageError: `too_large`.
    """
    if is_json(kind):
        return image_bytes(_json(read()), fetch)
    if kind in RAW or kind.startswith("image/"):
        body = read()
        if not body:
            raise PayloadError("no_image", "the request has no body")
        # No image starts with a brace: this is JSON whose sender did not say so.
        return image_bytes(_json(body), fetch) if body.lstrip()[:1] == b"{" else body
    raise PayloadError(
        "unsupported_media_type", f"cannot take a body of type {kind[:80]}: send JSON, a form or image/*"
    )


def several(kind: str, read: Read, limit: int) -> list[Source]:
    """The images in a JSON list of `{"url": ...}` and `{"image": base64}`, in their order.

    Args:
        kind: the body's media type, as for `one`.
        read: gives the body.
        limit: most images.

    Raises:
        PayloadError: no such list, an empty one, or one over the limit. What is wrong with one image only shows when
            it is asked for.
    """
    if not is_json(kind) and kind not in RAW:
        raise PayloadError(
            "unsupported_media_type",
            f"cannot take a body of type {kind[:80]}: send a JSON list or a form with files",
        )
    return listed(_json(read()), limit)


def listed(items: Any, limit: int) -> list[Source]:
    """The images of a list of mappings; raises as `several`."""
    if not isinstance(items, list):
        raise PayloadError("bad_request", 'send a list: [{"url": "https://..."}, {"image": "<base64>"}]')
    return limited([partial(image_bytes, item) for item in items], limit)


def limited(sources: list[Source], limit: int) -> list[Source]:
    """The same, where there are not too few or too many; raises as `several`."""
    if not sources:
        raise PayloadError("no_image", "the batch is empty")
    if len(sources) > limit:
        raise PayloadError("too_many_images", f"the batch has {len(sources):,} images; at most {limit} are taken")
    return sources


def top(values: Sequence[str]) -> int | None:
    """How many classes a query asks for by its values of `top`; None for all.

    Raises:
        PayloadError: `bad_query`.
    """
    if not values:
        return None
    text = values[0]
    if len(values) > 1 or len(text) > 6 or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise PayloadError("bad_query", '"top" must be one whole number of at least 1')
    return int(text)


def is_json(kind: str) -> bool:
    """Whether a media type is a kind of JSON."""
    return kind == "application/json" or kind.endswith("+json")


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

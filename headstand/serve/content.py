"""Parser of request bodies into encoded images, shared by the HTTP and Lambda services."""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from headstand import inputs
from headstand.images import MAX_BYTES
from headstand.serve.payload import Fetch, PayloadError, image_bytes

MAX_BODY = (MAX_BYTES + 2) // 3 * 4 + 64 * 1024
"""Maximum size of a request body in bytes: the largest image in base64, and 64 KiB for the surrounding form or JSON."""

MAX_LINE = 4094
"""Maximum length of a request's first line, with its path and query, in bytes."""

FORM = "multipart/form-data"

URLENCODED = "application/x-www-form-urlencoded"

RAW = ("application/octet-stream", URLENCODED, "application/x-image", "")
"""Media types, besides `image/...`, that clients send when they do not know the type of an image.

The second is curl's default, the third SageMaker's.
"""

_MAX_PARTS = 100_000
"""Maximum number of commas, brackets and braces in a JSON body.

A body of only these is parsed into objects of thirty times its size, while other Python threads wait.
"""

_MAX_FIELDS = 1000
"""Maximum number of fields of a urlencoded form."""

_TEXT = re.compile(rb"[\x20-<>-\x7e\t\r\n]*=[\x20-\x7e\t\r\n]*")
"""Matches a urlencoded form, and not the bytes of an image.

Its first part matches no equals sign, so that matching takes linear time.
"""

_MAX_ESCAPES = 2_000_000
"""Maximum number of percent signs in a urlencoded form: twice as many as the largest image in base64 has.

Each costs about half a microsecond.
"""

_ESCAPE = re.compile("%([0-9a-fA-F]{2})")

Source = Callable[[Fetch], bytes]
"""Function that returns one encoded image of a batch, given a function that downloads URLs.

It downloads or decodes base64 only when called, so that one image at a time is in memory.
"""


def media_type(content_type: str) -> str:
    """Returns the media type in a Content-Type header, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower()


def one(content_type: str, body: bytes, fetch: Fetch) -> bytes:
    """Returns the encoded image that a request body contains, or refers to by URL.

    Args:
        content_type: the header; empty if there is none.
        body: the whole body.
        fetch: downloads a URL for a client.

    Raises:
        PayloadError: the body contains no image.
        DownloadError: as `fetch`.
        ImageError: `too_large`.
    """
    kind = media_type(content_type)
    if kind == FORM:
        from headstand.serve import form

        found = form.parse(content_type, body)
        image = found.image()
        return image_bytes(_named(found.fields, found.files), fetch) if image is None else image
    if is_json(kind):
        return image_bytes(_json(body), fetch)
    if kind in RAW or kind.startswith("image/"):
        if not body:
            raise PayloadError("no_image", "the request has no body")
        start = body.lstrip()[:1]
        if start == b"{":  # no image starts with a brace: this is JSON sent without its type
            return image_bytes(_json(body), fetch)
        if kind == URLENCODED and start != b"[" and _TEXT.fullmatch(body):
            return image_bytes(_named(dict(reversed(_fields(body)))), fetch)
        return body
    raise PayloadError(
        "unsupported_media_type", f"the media type {kind[:80]} is not supported: send JSON, a form or image/*"
    )


def several(content_type: str, body: bytes, limit: int) -> list[Source]:
    """Returns the images of a batch request in their order.

    The body is a JSON list of `{"url": ...}` and `{"image": base64}`, or a form.

    Args:
        content_type: the header; empty if there is none.
        body: the whole body.
        limit: maximum number of images.

    Raises:
        PayloadError: the body is not such a list or form, is empty, or has more images than the limit. Errors of single
            images are raised when their `Source` is called.
    """
    kind = media_type(content_type)
    if kind == FORM:
        from headstand.serve import form

        files = [data for _, name, data in form.parse(content_type, body).files if name or data]
        if not files:
            raise PayloadError("no_image", "the form has no file; each image is a part with a file name")
        return limited([lambda _, data=data: data for data in files], limit)  # type: ignore[misc]
    if kind == URLENCODED and body.lstrip()[:1] not in b"[{" and _TEXT.fullmatch(body):
        named = [{name: value} for name, value in _fields(body) if name in ("url", "image")]
        return listed(named, limit)
    if not is_json(kind) and kind not in RAW:
        raise PayloadError(
            "unsupported_media_type",
            f"the media type {kind[:80]} is not supported: send a JSON list or a form with files",
        )
    return listed(_json(body), limit)


def listed(items: Any, limit: int) -> list[Source]:
    """Returns the images of a parsed JSON list of mappings; raises as `several`."""
    if not isinstance(items, list):
        raise PayloadError("bad_request", 'send a list: [{"url": "https://..."}, {"image": "<base64>"}]')
    return limited([partial(image_bytes, item) for item in items], limit)


def limited(sources: list[Source], limit: int) -> list[Source]:
    """Returns `sources` unchanged if there is at least one and at most `limit`; raises as `several`."""
    if not sources:
        raise PayloadError("no_image", "the batch is empty")
    if len(sources) > limit:
        raise PayloadError("too_many_images", f"the batch has {len(sources):,} images; the limit is {limit}")
    return sources


def top(values: Sequence[str]) -> int | None:
    """Returns the number of classes to report, parsed from the query parameter `top`; None for all.

    Args:
        values: all values of the parameter.

    Raises:
        PayloadError: `bad_query`, there are several values or the value is not a whole number of at least 1.
    """
    if not values:
        return None
    text = values[0]
    if len(values) > 1 or len(text) > 6 or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise PayloadError("bad_query", '"top" must be one whole number of at least 1')
    return int(text)


def is_json(kind: str) -> bool:
    """Returns whether a media type is JSON or a type based on it (`+json`)."""
    return kind == "application/json" or kind.endswith("+json")


def _fields(body: bytes) -> list[tuple[str, str]]:
    """Returns names and values of a urlencoded form."""
    for character, limit, name in ((b"&", _MAX_FIELDS, "fields"), (b"%", _MAX_ESCAPES, "percent signs")):
        if body.count(character) > limit:
            raise PayloadError("request_entity_too_large", f"the form has more than {limit:,} {name}")
    parts = [part.partition(b"=") for part in body.split(b"&") if part]
    pairs = [(_unquote(name), _unquote(value)) for name, _, value in parts]
    # If base64 was not percent-encoded, its plus signs were decoded to spaces, which base64 does not contain.
    return [(name, value.replace(" ", "+") if name == "image" else value) for name, value in pairs]


def _unquote(text: bytes) -> str:
    """Returns what `urllib.parse.unquote_plus` returns, which takes 200 bytes of memory and 2 us for each escape."""
    encoded = text.replace(b"+", b" ").decode("latin-1")
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), encoded).encode("latin-1").decode("utf-8", "replace")


def _named(fields: dict[str, str], files: Sequence[tuple[str, str, bytes]] = ()) -> dict[str, str]:
    """Returns the fields of a form, with the field `file` copied to `image` if there is no `image`.

    Args:
        fields: values by name.
        files: files of the form, whose names an error message lists.

    Raises:
        PayloadError: `no_image`, none of the fields is an image or a URL.
    """
    if fields.get("file") and "image" not in fields:
        fields = {**fields, "image": fields["file"]}
    if not fields.keys() & {"url", "image", *inputs.REGISTERED}:
        names = [name for name, *_ in files] + list(fields)
        found = ", ".join(json.dumps(name[:40]) for name in names[:5]) or "none"
        raise PayloadError(
            "no_image", f'the form must have a file "image", or a field "url" or "image"; its fields are: {found}'
        )
    return fields


def _json(body: bytes) -> Any:
    # Counted in strings, too: base64 contains none of these characters, and a URL few.
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_PARTS:
        raise PayloadError("bad_json", f"the JSON body has more than {_MAX_PARTS:,} commas, brackets and braces")
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise PayloadError("bad_json", "the body is not valid JSON") from None


def _refuse_constant(text: str) -> NoReturn:
    """Raises ValueError for NaN and Infinity, which Python accepts but JSON (RFC 8259, 6) does not have."""
    raise ValueError(text)

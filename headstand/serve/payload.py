"""Conversion of the fields of a JSON body, a form or a Lambda event to the bytes of one encoded image."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from headstand import inputs
from headstand.errors import ClientError
from headstand.images import MAX_BYTES, ImageError
from headstand.serve.download import MAX_URL, DownloadError

Fetch = Callable[..., bytes]
"""Function that downloads a URL, its argument, and returns the bytes; raises `DownloadError`."""


class PayloadError(ClientError):
    """Error for a request that is malformed or contains no image.

    `code` is `bad_request`, `bad_query`, `bad_json`, `bad_base64`, `no_image`, `too_many_images`, `batch_timeout`,
    `uri_too_long`, `request_entity_too_large` or `unsupported_media_type`.
    """


def image_bytes(fields: Any, fetch: Fetch) -> bytes:
    """Returns the image of `{"url": ...}` or `{"image": base64}`, or the values of a registered kind of input, encoded.

    Args:
        fields: the parsed value; anything but such a mapping is refused.
        fetch: called with the URL, which has at most `MAX_URL` characters.

    Raises:
        PayloadError: the mapping has none of the fields or several, or the image is not base64.
        DownloadError: `bad_url`, or as `fetch`.
        ImageError: `too_large`, or as the `encode` of the registered kind of input.
    """
    if not isinstance(fields, Mapping):
        raise PayloadError("bad_request", 'send an object: {"url": "https://..."} or {"image": "<base64>"}')
    given = {name: fields[name] for name in ("url", "image", *inputs.REGISTERED) if fields.get(name) is not None}
    if len(given) != 1:
        found = "several" if given.keys() - {"url", "image"} else "both" if given else "neither"
        raise PayloadError("no_image", f'send either "url" or "image" (base64); the request has {found}')
    ((name, value),) = given.items()
    if name in inputs.REGISTERED:
        return inputs.REGISTERED[name].encode(value)
    if name == "url":
        if not isinstance(value, str) or not value.strip():
            raise DownloadError("bad_url", '"url" must be a string that starts with http:// or https://')
        if len(value) > MAX_URL:  # checked before it is parsed, because Python caches parsed URLs
            raise DownloadError("bad_url", f"the URL has {len(value):,} characters; the longest allowed is {MAX_URL:,}")
        return fetch(value)
    if not isinstance(value, str):
        raise PayloadError("bad_base64", '"image" must be a string: the image in base64')
    return _decoded(value)


def _decoded(text: str) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise PayloadError("bad_base64", "a data: URL must be data:image/...;base64,...")
    try:
        # Many base64 encoders insert line breaks, as the `base64` command does. Not `split`, which would turn groups of
        # two characters into objects of thirty times their size.
        data = text.encode("ascii").translate(None, b" \t\n\v\f\r")
        if len(data) > (MAX_BYTES + 2) // 3 * 4:
            raise ImageError("too_large", f"the image has more than {MAX_BYTES:,} bytes")
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise PayloadError("bad_base64", '"image" is not base64') from None

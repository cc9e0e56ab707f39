"""Parser of multipart forms for HTTP and Lambda; imported with the first form, because the library loads slowly."""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from headstand.serve.content import FORM, MAX_BODY
from headstand.serve.payload import PayloadError

_MAX_PARTS = 200
"""Most parts of a form; each becomes several objects."""

_MAX_HEADER = 1536
"""Longest line of a part's header, in bytes: a file name of 255 characters, percent-encoded, and its field's name. A
part has at most 8 such lines (the library's limit). Parsing one of nothing but semicolons takes 2 ms."""

_MAX_CONTENT_TYPE = 512
"""Longest `Content-Type` of a form, in characters. A boundary has 70 at most (RFC 2046, 5.1.1)."""

# The library logs what it refuses, with bytes of the client in it.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes that no text contains."""


@dataclass
class Form:
    """`fields`: texts by name, the first of each; `files`: name in the form, file name of the sender, bytes."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)

    def image(self) -> bytes | None:
        """Bytes of the file `image`, or else `file`; None where no file was chosen."""
        for wanted in ("image", "file"):
            for name, filename, data in self.files:
                if name == wanted:
                    if filename:
                        return data
                    break
        return None


def parse(content_type: str, body: bytes) -> Form:
    """Parse a form.

    Args:
        content_type: the whole header, with its boundary.
        body: the whole body.

    Raises:
        PayloadError: `bad_request` if it is damaged, has no boundary, or a part's header is too long;
            `request_entity_too_large` if it has too many parts.
    """
    if len(content_type) > _MAX_CONTENT_TYPE:
        raise PayloadError(
            "bad_request", f"the form's Content-Type has more than {_MAX_CONTENT_TYPE} characters; use a short boundary"
        )
    form, parts, ended = Form(), 0, False

    def count() -> None:
        nonlocal parts
        parts += 1
        if parts > _MAX_PARTS:
            raise PayloadError("request_entity_too_large", f"the form has more than {_MAX_PARTS:,} parts")

    def on_field(found: Any) -> None:
        count()
        name, value = _text(found.field_name), found.value or b""
        if _BINARY.search(value):  # a file that was sent without its name
            form.files.append((name, name, value))
        else:
            form.fields.setdefault(name, _text(value))

    def on_file(found: Any) -> None:
        count()
        form.files.append((_text(found.field_name), _text(found.file_name), found.file_object.getvalue()))

    def on_end() -> None:
        nonlocal ended
        ended = True

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise PayloadError(
                "bad_request",
                'the header Content-Type has no boundary; it must be "multipart/form-data; boundary=...", as clients '
                "write it unless the header is set by hand",
            )
        # The body is in memory already: no temporary file is needed.
        limits = {"MAX_MEMORY_FILE_SIZE": 2 * MAX_BODY, "MAX_HEADER_SIZE": _MAX_HEADER}
        parser = FormParser(FORM, on_field, on_file, on_end, boundary, config=limits)
        parser.write(body)
    except ValueError:  # the library's errors are subclasses of it
        raise PayloadError("bad_request", "the form is damaged, or a part's header is too long") from None
    if not ended:
        raise PayloadError("bad_request", "the form is cut short")
    return form


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")

"""Parser of multipart forms for HTTP and Lambda, imported with the first form because its library loads slowly."""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from headstand.serve.content import FORM, MAX_BODY
from headstand.serve.payload import PayloadError

_MAX_PARTS = 200
"""Maximum number of parts of a form; each becomes several Python objects."""

_MAX_HEADER = 1536
"""Maximum length of a header line of a part in bytes: a percent-encoded file name of 255 characters and a field name.

A part has at most 8 such lines (the library's limit). Parsing a line of only semicolons takes 2 ms.
"""

_MAX_CONTENT_TYPE = 512
"""Maximum length of a form's `Content-Type` in characters. A boundary has at most 70 (RFC 2046, 5.1.1)."""

# The library's log messages about refused input contain bytes of the client.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Matches control characters that do not occur in text."""


@dataclass
class Form:
    """Parsed multipart form.

    Attributes:
        fields: text by field name; the first value of each name.
        files: for each file its field name, the client's file name and its bytes.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)

    def image(self) -> bytes | None:
        """Returns the bytes of the file in field `image`, or else in `file`; None if no file was chosen."""
        for wanted in ("image", "file"):
            for name, filename, data in self.files:
                if name == wanted:
                    if filename:
                        return data
                    break
        return None


def parse(content_type: str, body: bytes) -> Form:
    """Parses a multipart form.

    Args:
        content_type: the whole header, with its boundary.
        body: the whole body.

    Raises:
        PayloadError: `bad_request` if the form is damaged, has no boundary, or has a too long header;
            `request_entity_too_large` if it has too many parts.
    """
    if len(content_type) > _MAX_CONTENT_TYPE:
        raise PayloadError(
            "bad_request", f"the form's Content-Type has more than {_MAX_CONTENT_TYPE} characters; use a short boundary"
        )
    form, parts, complete = Form(), 0, False

    def count() -> None:
        nonlocal parts
        parts += 1
        if parts > _MAX_PARTS:
            raise PayloadError("request_entity_too_large", f"the form has more than {_MAX_PARTS:,} parts")

    def on_field(found: Any) -> None:
        count()
        name, value = _text(found.field_name), found.value or b""
        if _BINARY.search(value):  # a file that was sent without a file name
            form.files.append((name, name, value))
        else:
            form.fields.setdefault(name, _text(value))

    def on_file(found: Any) -> None:
        count()
        form.files.append((_text(found.field_name), _text(found.file_name), found.file_object.getvalue()))

    def on_end() -> None:
        nonlocal complete
        complete = True

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise PayloadError(
                "bad_request",
                'the header Content-Type has no boundary; it must be "multipart/form-data; boundary=...", as clients '
                "write it unless the header is set by hand",
            )
        # The body is in memory already, so the library must not write a temporary file.
        limits = {"MAX_MEMORY_FILE_SIZE": 2 * MAX_BODY, "MAX_HEADER_SIZE": _MAX_HEADER}
        parser = FormParser(FORM, on_field, on_file, on_end, boundary, config=limits)
        parser.write(body)
    except ValueError:  # base class of the library's errors
        raise PayloadError("bad_request", "the form is malformed, or a part has a header that is too long") from None
    if not complete:
        raise PayloadError("bad_request", "the form is incomplete: its closing boundary is missing")
    return form


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")

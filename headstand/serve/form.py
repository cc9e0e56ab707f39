"""A multipart form as bytes, taken apart without a web framework; loaded only when one comes."""

from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from headstand.serve.content import FORM, MAX_BODY
from headstand.serve.payload import PayloadError

_MAX_PARTS = 1000
"""Most parts of a form; each becomes objects. Werkzeug, which reads the HTTP service's forms, has the same limit."""


@dataclass
class Form:
    """`fields` by name, the first of each; `files` with their names as the form has them and as the sender had them."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)

    def image(self) -> bytes | None:
        """The file `image`, or else `file`; None where no file was chosen."""
        for wanted in ("image", "file"):
            for name, filename, data in self.files:
                if name == wanted:
                    if filename:
                        return data
                    break
        return None


def parse(content_type: str, body: bytes) -> Form:
    """Take a form apart.

    Args:
        content_type: the whole header, with its boundary.
        body: all of it.

    Raises:
        PayloadError: `bad_request` if it is damaged, `request_entity_too_large` if it has too many parts.
    """
    form, parts, ended = Form(), 0, False

    def count() -> None:
        nonlocal parts
        parts += 1
        if parts > _MAX_PARTS:
            raise PayloadError("request_entity_too_large", f"the form has more than {_MAX_PARTS:,} parts")

    def on_field(found: Any) -> None:
        count()
        form.fields.setdefault(_text(found.field_name), _text(found.value))

    def on_file(found: Any) -> None:
        count()
        form.files.append((_text(found.field_name), _text(found.file_name), found.file_object.getvalue()))

    def on_end() -> None:
        nonlocal ended
        ended = True

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        # All of it is in memory already: nothing needs to go to disk.
        parser = FormParser(FORM, on_field, on_file, on_end, boundary, config={"MAX_MEMORY_FILE_SIZE": 2 * MAX_BODY})
        parser.write(body)
    except ValueError:  # the library's errors are kinds of it
        raise PayloadError("bad_request", "the form is damaged, or its boundary is missing") from None
    if not ended:
        raise PayloadError("bad_request", "the form is cut short")
    return form


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")

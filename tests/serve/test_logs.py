import json
import logging
import sys

from headstand.serve.logs import Line


def line(**more: object) -> dict:
    record = logging.LogRecord("some.name", logging.WARNING, __file__, 1, "%s failed", ("it",), None)
    record.created = 1_700_000_000.25
    record.__dict__.update(more)
    text = Line().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_message_is_one_line() -> None:
    assert line() == {
        "time": "2023-11-14T22:13:20.250+00:00", "level": "warning", "logger": "some.name", "message": "it failed",
    }  # fmt: skip


def test_fields_replace_the_message() -> None:
    found = line(fields={"status": 200, "path": "/a\nb"})
    assert "message" not in found and (found["status"], found["path"]) == (200, "/a\nb")


def test_an_exception_is_on_the_same_line() -> None:
    try:
        raise ValueError("inside")
    except ValueError:
        found = line(exc_info=sys.exc_info())
    assert found["exception"].startswith("Traceback") and found["exception"].endswith("ValueError: inside")

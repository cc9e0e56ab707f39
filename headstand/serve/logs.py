"""Logs as lines of JSON: one for each request, one for each event of the server."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

REQUESTS = "headstand.requests"
"""Logger with one record a request; its fields travel in `record.fields`."""


class Line(logging.Formatter):
    """A record as one line of JSON: `time` (UTC), `level`, `logger`, then its fields or its message."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        line |= {"message": record.getMessage()} if fields is None else fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


class EndedLine(Line):
    """The same with its line's end, for handlers that write what they are given and no more, as Lambda's does."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) + "\n"

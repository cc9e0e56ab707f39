"""Log formatters that write JSON lines: one line per request, one per event of the server."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

REQUESTS = "headstand.requests"
"""Name of the logger with one record per request; its values are in `record.fields`."""


class Line(logging.Formatter):
    """Formatter that writes a record as one line of JSON: `time` (UTC), `level`, `logger`, then fields or message."""

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
    """Formatter like `Line` that adds a newline, for handlers that do not add one, such as Lambda's."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) + "\n"

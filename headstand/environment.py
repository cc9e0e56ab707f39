"""Names of the environment variables that Headstand reads beside the keys of a recipe."""

import difflib
from collections.abc import Iterable

PATHS = ("HEADSTAND_CACHE", "HEADSTAND_DATA", "HEADSTAND_MODEL", "HEADSTAND_RUNS", "HEADSTAND_WEIGHTS")
"""Folders and files: caches, datasets, the model to serve, runs, pretrained weights."""

SERVICE = (
    "HEADSTAND_ALLOW_FAILED",
    "HEADSTAND_BATCH",
    "HEADSTAND_BODY_MB",
    "HEADSTAND_INTERPRETERS",
    "HEADSTAND_IN_FLIGHT",
    "HEADSTAND_API_KEY",
    "HEADSTAND_ORIGIN",
    "HEADSTAND_THREADS",
)
"""Settings of the services. A training that runs in the same shell ignores them."""

VARIABLES = PATHS + SERVICE


def suggestion(name: str, known: Iterable[str] = VARIABLES, prefix: str = "HEADSTAND_") -> str:
    """Returns " (did you mean NAME?)" for the most similar known name, or an empty text if none is similar.

    Names are compared without their common prefix, which would make all of them similar.
    """
    similar = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known], n=1)
    return f" (did you mean {prefix}{similar[0]}?)" if similar else ""

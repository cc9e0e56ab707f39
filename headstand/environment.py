"""Names of the environment variables that Headstand reads beside the keys of a recipe."""

import difflib

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


def suggestion(name: str, known: tuple[str, ...] = VARIABLES) -> str:
    """Returns " (did you mean NAME?)" for the most similar known name, or an empty text if none is similar."""
    prefix = "HEADSTAND_"  # compared without it: it would make all names similar
    similar = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known], n=1)
    return f" (did you mean {prefix}{similar[0]}?)" if similar else ""

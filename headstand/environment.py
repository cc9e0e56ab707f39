"""Names of the environment variables that Headstand reads: settings, and the keys of a recipe."""

import difflib
import os
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

SECTIONS = (
    "name", "seed", "minutes", "source", "split", "backbone", "augmentation", "head", "search", "finetune",
    "evaluation", "card", "variants", "compare",
)  # fmt: skip
"""Sections of a recipe, and its keys outside of sections. Variables such as `HEADSTAND_HEAD__DROPOUT` set its keys."""


def unknown() -> str:
    """Returns a message about the first variable `HEADSTAND_...` that nothing reads; empty if there is none."""
    sections = [f"HEADSTAND_{section.upper()}" for section in SECTIONS]
    for variable in sorted(os.environ):
        known = variable in VARIABLES or variable.partition("__")[0] in sections
        if variable.startswith("HEADSTAND_") and not known:
            return f"unknown environment variable {variable}{suggestion(variable)}: unset it"
    return ""


def suggestion(name: str, known: Iterable[str] = VARIABLES, prefix: str = "HEADSTAND_") -> str:
    """Returns " (did you mean NAME?)" for the most similar known name, or an empty text if none is similar.

    Names are compared without their common prefix, which would make all of them similar.
    """
    similar = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known], n=1)
    return f" (did you mean {prefix}{similar[0]}?)" if similar else ""

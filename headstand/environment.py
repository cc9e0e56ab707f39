"""Environment variables that Headstand reads: settings with their descriptions, and the keys of a recipe."""

import difflib
import os
from collections.abc import Iterable

PATHS = {
    "HEADSTAND_CACHE": "folder or address of all caches; default `.cache/headstand`",
    "HEADSTAND_DATA": "folder in which paths of photos are searched that exist neither here nor in the checkout",
    "HEADSTAND_MODEL": "model to serve: a `.tflite`, or a folder with one; default: for `headstand serve` the newest "
    "in `runs/`, else `models/yoga6`",
    "HEADSTAND_RUNS": "folder or address of all runs; default `runs`",
    "HEADSTAND_WEIGHTS": "folder in which paths of weights are searched that exist neither here nor in the checkout",
}
"""Folders and files: caches, datasets, the model to serve, runs, pretrained weights."""

SERVICE = {
    "HEADSTAND_ALLOW_FAILED": "1: serve a model whose conversion failed its comparison with the trained model",
    "HEADSTAND_BATCH": "largest number of images in a batch; default 16",
    "HEADSTAND_BODY_MB": "MiB of requests and responses that a worker keeps in memory; default 64",
    "HEADSTAND_INTERPRETERS": "images that a worker classifies in parallel; default: cores / workers / threads",
    "HEADSTAND_IN_FLIGHT": "predictions in progress in a worker, including waiting ones; default 16 per interpreter",
    "HEADSTAND_API_KEY": "keys, separated by commas, one of which each prediction needs; default: none is needed",
    "HEADSTAND_ORIGIN": "Lambda: origin whose web pages may use the function; default: all",
    "HEADSTAND_THREADS": "cores that one interpreter uses; default 1, on Lambda those of the memory size",
}
"""Settings of the services. A training that runs in the same shell ignores them."""

SERVER = {"WEB_CONCURRENCY": "number of workers (processes); default: a quarter of the cores, at least 2"}
"""Variables of gunicorn that the service reads."""

VARIABLES = PATHS | SERVICE

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

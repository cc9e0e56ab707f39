"""Headstand: trains image classifiers on a folder of photos and serves them.

The functions of the Python API are in `headstand.python_api`, and also attributes of this package.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstand.python_api import convert as convert
    from headstand.python_api import evaluate as evaluate
    from headstand.python_api import load as load
    from headstand.python_api import prepare as prepare
    from headstand.python_api import train as train

__version__ = "0.1.0"

_INSTALLED = Path(__file__).resolve().parent / "shipped"

HOME = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1]
"""Folder with `recipes/`, `models/` and `gunicorn.conf.py`: in the installed package, else the root of the checkout."""


def __getattr__(name: str) -> Any:
    """Imports the API when it is first used: a service should not wait for what it does not need."""
    if name not in ("convert", "evaluate", "load", "prepare", "train"):
        raise AttributeError(f"module 'headstand' has no attribute {name!r}")
    from headstand import python_api

    return getattr(python_api, name)

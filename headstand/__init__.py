"""Headstand: trains image classifiers on a folder of photos and serves them."""

from pathlib import Path

__version__ = "0.1.0"

_INSTALLED = Path(__file__).resolve().parent / "shipped"

HOME = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1]
"""Folder with `recipes/`, `models/` and `gunicorn.conf.py`: in the installed package, else the root of the checkout."""

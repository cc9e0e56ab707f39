"""Paths that a recipe names: searched in the working directory, the repository and a configured folder."""

import os
from pathlib import Path

from headstand import HOME
from headstand.errors import HeadstandError


class RecipeError(HeadstandError):
    """Raised for a recipe that cannot be read, or that has a key or value that is not allowed."""


def locate(path: str | Path, variable: str) -> Path:
    """Returns a file or folder that a recipe names: as it is, else in the repository, else in the folder of a variable.

    Args:
        path: the path in the recipe.
        variable: environment variable with a folder to search: `HEADSTAND_DATA` or `HEADSTAND_WEIGHTS`.

    Raises:
        RecipeError: it is in none of these folders.
    """
    folder = os.environ.get(variable)
    paths = [Path(path).expanduser(), HOME / path, *([Path(folder).expanduser() / path] if folder else [])]
    paths = list(dict.fromkeys(paths))  # for an absolute path all are the same
    for found in paths:
        if found.exists():
            return found
    hint = "" if folder or Path(path).is_absolute() else f"; {variable} can name a folder to search"
    raise RecipeError(f"there is no {path} (searched {', '.join(map(str, paths))}){hint}")

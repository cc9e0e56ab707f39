"""The model that the commands `serve` and `predict` use, without TensorFlow."""

import os
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.serve.classifier import default_model


def found(name: str | None) -> Path:
    """Returns the path of a `.tflite` file.

    Args:
        name: the file; a folder of a run or of several runs, whose newest `.tflite` is used; or None for the model of
            `HEADSTAND_MODEL`, else the newest below `runs/`, else the one that comes with Headstand.

    Raises:
        HeadstandError: there is no such file, or none in the folder.
    """
    if name is None:
        runs = Path(os.environ.get("HEADSTAND_RUNS") or "runs").expanduser()
        newest = None if os.environ.get("HEADSTAND_MODEL") else _newest(runs)
        return newest or default_model()
    path = Path(name).expanduser()
    if path.suffix in (".h5", ".keras"):
        if path.with_suffix(".tflite").is_file():
            return path.with_suffix(".tflite")
        raise HeadstandError(f"{path} is not converted: run `headstand convert {path}`")
    if not path.is_dir():
        return path
    newest = _newest(path)
    if not newest:
        raise HeadstandError(
            f"there is no .tflite file in {path}: name another folder, or convert a run with `headstand convert {path}`"
        )
    return newest


def _newest(folder: Path) -> Path | None:
    """Returns the `.tflite` in the newest folder of a run, by its name, which contains the time; None without one."""
    files = [path for pattern in ("*.tflite", "*/*.tflite", "*/*/*.tflite") for path in folder.glob(pattern)]
    return max(files, key=lambda path: (path.parent.name, path.stat().st_mtime), default=None)

"""Command `serve`: the HTTP service of one model, with gunicorn."""

import os
import sys
from typing import NoReturn

from headstand import HOME, environment
from headstand.cli import models
from headstand.errors import HeadstandError
from headstand.serve import bundle, capacity

CONFIGURATION = HOME / "gunicorn.conf.py"


def serve(model: str | None, host: str, port: int) -> NoReturn:
    """Replaces this process by gunicorn, which serves a model until Ctrl-C.

    Args:
        model: as for `models.found`.
        host: address to listen on.
        port: port to listen on.

    Raises:
        HeadstandError: the model cannot be served, an environment variable is not valid, or this is Windows, on which
            gunicorn does not run.
    """
    if sys.platform == "win32":
        raise HeadstandError("gunicorn does not run on Windows: use WSL or the container (docs/service.md)")
    if wrong := environment.unknown():
        raise HeadstandError(wrong)
    capacity.chosen()
    path = models.found(model).absolute()
    found = bundle.read(path)
    print(f"serving {path} ({found.name}, {len(found.labels)} classes) at http://{host}:{port}/", flush=True)
    os.environ["HEADSTAND_MODEL"] = str(path)
    options = ["--config", str(CONFIGURATION), "--bind", f"{host}:{port}"]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, "headstand.serve.flask_app:served()"])  # noqa: S606

"""HTTP service with the routes that Amazon SageMaker requires: `GET /ping` and `POST /invocations`, on port 8080.

The container image `endpoint` runs `python -m headstand.serve.endpoint serve`
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from flask import Flask

from headstand.cli import command
from headstand.errors import HeadstandError
from headstand.serve import flask_app
from headstand.serve.api import CONFIDENT, KNOWN, Api, Request, Response
from headstand.serve.classifier import Classifier
from headstand.serve.request_context import RequestContext

MODEL = Path("/opt/ml/model")
"""Folder into which SageMaker unpacks `model.tar.gz`."""

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
"""The only response header that SageMaker passes to the client, as `CustomAttributes` of InvokeEndpoint."""


def create_app(classifier: Classifier | None = None) -> Flask:
    """Returns the Flask application with SageMaker's two routes added; SageMaker exposes only these to clients.

    `/ping` is `/readyz` and `/invocations` is `/predict`. The custom attributes of the response contain
    `confident=true` or `confident=false`, and `known=true` or `known=false` if the model detects unknown inputs.

    Args:
        classifier: as in `flask_app.create_app`.

    Raises:
        HeadstandError: as `flask_app.create_app`.
    """
    app = flask_app.create_app(classifier)
    core: Api = app.extensions["headstand.api"]

    def invocations(request: Request, context: RequestContext) -> Response:
        response = core.predict(request, context)
        named = {"confident": CONFIDENT, "known": KNOWN}
        found = [f"{name}={response.headers[header]}" for name, header in named.items() if header in response.headers]
        response.headers[ATTRIBUTES] = ",".join(found)
        return response

    core.add("GET", "/ping", core.routes["/readyz"].handler)
    core.add("POST", "/invocations", invocations)
    return app


def served() -> Flask:
    """Returns the application for gunicorn, as `flask_app.served`."""
    return flask_app.served(create_app)


def bundle(folder: Path) -> Path:
    """Returns the path of the only `.tflite` file below the folder of the unpacked `model.tar.gz`.

    Raises:
        HeadstandError: there is none, or more than one.
    """
    found = sorted(folder.rglob("*.tflite"))
    if len(found) != 1:
        named = ", ".join(str(path.relative_to(folder)) for path in found[:5]) or "none"
        raise HeadstandError(
            f"model.tar.gz must contain one .tflite file and contains {named}: pack a folder that a training job or "
            "`python -m headstand publish` has written"
        )
    return found[0]


def main(arguments: list[str]) -> NoReturn:
    """Replaces this process by gunicorn with the SageMaker application.

    Args:
        arguments: command-line arguments: `["serve"]`, which SageMaker passes to every inference container, or none.

    Raises:
        HeadstandError: there are other arguments, or there is no model.
    """
    if arguments not in ([], ["serve"]):
        raise HeadstandError(f"unknown arguments {' '.join(arguments)!r}: this container takes only 'serve'")
    if not os.environ.get("HEADSTAND_MODEL"):
        os.environ["HEADSTAND_MODEL"] = str(bundle(MODEL))
    # SageMaker sets another port if several containers share an endpoint.
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    os.environ.setdefault("GUNICORN_CMD_ARGS", f"--bind 0.0.0.0:{port}")
    # Not a child process, so that SIGTERM reaches gunicorn itself.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "headstand.serve.endpoint:served()"])  # noqa: S606


if __name__ == "__main__":
    command.run(main)

"""The HTTP service as SageMaker asks for it: `GET /ping` and `POST /invocations`, on port 8080.

`python -m headstand.serve.endpoint serve` is what the image `endpoint` runs
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from flask import Flask, Response

from headstand import command
from headstand.errors import HeadstandError
from headstand.serve import web
from headstand.serve.classifier import Classifier

MODEL = Path("/opt/ml/model")
"""Where SageMaker unpacks `model.tar.gz`."""

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
"""The one header of an answer that reaches a client: `CustomAttributes` of InvokeEndpoint."""


def create_app(classifier: Classifier | None = None) -> Flask:
    """The service with SageMaker's two paths beside its own, which SageMaker lets nobody reach.

    `/invocations` is `/predict`; what that says of its confidence travels as `confident=true` or `confident=false` in
    the custom attributes.

    Args:
        classifier: as `web.create_app`.

    Raises:
        HeadstandError: as `web.create_app`.
    """
    app = web.create_app(classifier)
    app.add_url_rule("/ping", view_func=app.view_functions["/readyz"], methods=["GET"])
    app.add_url_rule("/invocations", view_func=app.view_functions["predict"], methods=["POST"])

    @app.after_request
    def tell(response: Response) -> Response:
        if confident := response.headers.get(web.CONFIDENT):
            response.headers[ATTRIBUTES] = f"confident={confident}"
        return response

    return app


def served() -> Flask:
    """The application for gunicorn; without a usable model the server stops, with one line."""
    try:
        return create_app()
    except HeadstandError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(4)  # as in predict.py: gunicorn's own code for an application that cannot be loaded


def bundle(folder: Path) -> Path:
    """The model among what `model.tar.gz` held.

    Raises:
        HeadstandError: none, or more than one.
    """
    found = sorted(folder.rglob("*.tflite"))
    if len(found) != 1:
        named = ", ".join(str(path.relative_to(folder)) for path in found[:5]) or "none"
        raise HeadstandError(
            f"model.tar.gz must hold one .tflite and holds {named}: pack a folder that a training job or "
            "`python -m headstand publish` made"
        )
    return found[0]


def main(words: list[str]) -> NoReturn:
    """Become gunicorn.

    Args:
        words: `serve`, which SageMaker says to every image that is to serve, or nothing.

    Raises:
        HeadstandError: other words, or no model.
    """
    if words not in ([], ["serve"]):
        raise HeadstandError(f"this image serves, and was asked to {' '.join(words)}")
    if not os.environ.get("HEADSTAND_MODEL"):
        os.environ["HEADSTAND_MODEL"] = str(bundle(MODEL))
    # SageMaker names another port where several containers share an endpoint.
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    os.environ.setdefault("GUNICORN_CMD_ARGS", f"--bind 0.0.0.0:{port}")
    # Not a child: the signal to end reaches the server itself.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "headstand.serve.endpoint:served()"])  # noqa: S606


if __name__ == "__main__":
    command.run(main)

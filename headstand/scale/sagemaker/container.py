"""Entry point of a training container without SageMaker's toolkit: `python -m headstand.scale.sagemaker.container`.

It reads SageMaker's files in `/opt/ml/input/config`, sets the variables that the toolkit would set, and replaces itself
by `python train.py --key value ...`. AWS's own images use the toolkit. It is not used here because SIGTERM ends it
without being passed on to its child process, so that a spot interruption reaches training as SIGKILL, and because it
needs a dozen packages.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from headstand import HOME
from headstand.cli import command
from headstand.scale.sagemaker.job_folders import MODEL, OUTPUT, JobError, JobFolders

BASE = "SAGEMAKER_BASE_DIR"
"""Environment variable for a folder other than `/opt/ml`, as in the toolkit."""


def main(argv: list[str]) -> NoReturn:
    """Replaces this process by `train.py`.

    Args:
        argv: `train`, the argument that SageMaker gives to every training image, or nothing.

    Raises:
        JobError: other arguments, or a damaged configuration; also written to the failure file.
    """
    base = Path(os.environ.get(BASE, "/opt/ml"))
    environment = {MODEL: str(base / "model"), OUTPUT: str(base / "output" / "data")}
    folders = JobFolders.of(environment)
    try:
        if argv not in ([], ["train"]):
            raise JobError(
                f"unknown command {' '.join(argv)!r}: this image only trains; an endpoint needs another image"
            )
        files = {name: _configuration(base, name) for name in ("hyperparameters", "inputdataconfig", "resourceconfig")}
        os.environ.update(environment | variables(base, files["inputdataconfig"], files["resourceconfig"]))
        arguments = hyperparameters(files["hyperparameters"])
        sys.stdout.flush()
        # exec instead of a child process, so that signals reach the training.
        os.execv(sys.executable, [sys.executable, str(HOME / "train.py"), *arguments])  # noqa: S606
    except Exception as error:
        folders.fail(error)
        raise


def variables(base: Path, inputs: Mapping[str, Any], resources: Mapping[str, Any]) -> dict[str, str]:
    """Returns the toolkit's environment variables for channels, hosts and GPUs.

    Args:
        base: `/opt/ml`.
        inputs: `inputdataconfig.json`, by channel.
        resources: `resourceconfig.json`.
    """
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    channels = {f"SM_CHANNEL_{name.upper()}": str(base / "input" / "data" / name) for name in inputs}
    hosts = json.dumps(resources.get("hosts", []))
    return channels | {"SM_HOSTS": hosts, "SM_NUM_GPUS": str(gpus)}


def hyperparameters(values: Mapping[str, Any]) -> list[str]:
    """Returns `--key value` for each hyperparameter, sorted by key, without those for the toolkit.

    SageMaker's SDK writes each value as JSON, so a string may be quoted.
    """
    arguments = []
    for key, value in sorted(values.items()):
        if key.startswith(("sagemaker_", "_")):
            continue
        try:
            decoded = json.loads(value)
        except (ValueError, TypeError):
            decoded = value
        arguments += [f"--{key}", decoded if isinstance(decoded, str) else str(value)]
    return arguments


def _configuration(base: Path, name: str) -> dict[str, Any]:
    """Returns a JSON file of `/opt/ml/input/config`; empty if it does not exist."""
    path = base / "input" / "config" / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise JobError(f"{path} is damaged: {error}") from error


if __name__ == "__main__":
    command.run(main)

"""Runs `train.py` inside a SageMaker training job: channels, conversion of the model, spot interruptions."""

import argparse
import ast
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from headstand.cli import command
from headstand.scale.sagemaker.job_folders import MODEL, JobError, JobFolders

Train = Callable[[list[str]], None]

STOPPED = 128 + signal.SIGTERM
"""Exit status after SIGTERM, sent when a job is stopped and two minutes before a spot instance is reclaimed."""


def around(train: Train) -> Train:
    """Returns `train` wrapped for a SageMaker training job if this process runs in one, else unchanged."""
    return partial(run, train) if MODEL in os.environ else train


def run(train: Train, argv: list[str]) -> None:
    """Prepares the channels' photos, trains, and writes the model where SageMaker collects it.

    An interrupted run is resumed from the checkpoints' folder. A run interrupted after its report is only delivered.

    Args:
        train: takes the name of a recipe and changes to it.
        argv: hyperparameters as `--key value`: `--recipe NAME`, and the recipe's keys.

    Raises:
        HeadstandError: preparing, training or converting fails, or instance or channels are not valid; the reason is
            also written to the failure file.
        SystemExit: `STOPPED`, after SIGTERM.
    """
    folders = JobFolders.of(os.environ)
    # Without a handler, process 1 of a container ignores SIGTERM.
    signal.signal(signal.SIGTERM, _stop)
    try:
        _run(train, argv, folders)
    except Exception as error:
        folders.fail(error)
        raise


def _run(train: Train, argv: list[str], folders: JobFolders) -> None:
    # Imported here, so that training elsewhere does not load these modules.
    from headstand import recipe
    from headstand.scale.sagemaker import channels

    name, rest = _recipe(argv)
    path = str(recipe.find(name).absolute())
    _check_instance(os.environ)
    folders.enter()
    splits = channels.splits(os.environ)
    if weights := os.environ.get(f"SM_CHANNEL_{channels.WEIGHTS}"):
        os.environ.setdefault("HEADSTAND_WEIGHTS", weights)
    ready = channels.prepared(splits)
    if ready is None:
        os.environ.update(channels.source(splits, folders.work / "channels.csv"))
    settings = recipe.load(path, rest)
    # TensorFlow is loaded from here on.
    from headstand.preparation import manifest, preparation_record
    from headstand.preparation.prepare import prepare
    from headstand.runs import finished
    from headstand.scale.sagemaker.delivery import deliver

    _check_gpus(os.environ)
    if ready is None:
        print(prepare(settings), flush=True)
    else:
        settings.data.parent.mkdir(exist_ok=True)
        settings.data.unlink(missing_ok=True)
        settings.data.symlink_to(ready)
    data = manifest.read(settings.data).digest
    trained = preparation_record.with_source(settings)
    if not finished(trained, data):
        train([path, *rest])
    folder = finished(trained, data)
    assert folder is not None
    deliver(folder, folders)


def _recipe(argv: list[str]) -> tuple[str, list[str]]:
    """Returns the recipe's name, which is passed as a hyperparameter, and the changes to it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe")
    # SageMaker adds these: the objective metric of a tuning job, and in its TensorFlow containers an S3 address for
    # the model, to which SageMaker itself uploads SM_MODEL_DIR.
    parser.add_argument("--_tuning_objective_metric")
    parser.add_argument("--model_dir")
    try:
        chosen, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise JobError(f"{error}: it needs a value") from None
    rest = [_as_json(argument) for argument in rest]
    return (chosen.recipe, rest) if chosen.recipe else command.recipe_and_rest(rest)


def _as_json(argument: str) -> str:
    """Converts a list of strings from Python's notation, which SageMaker's toolkit uses, to JSON."""
    if not argument.startswith("['"):
        return argument
    try:
        return json.dumps(ast.literal_eval(argument))
    except (ValueError, SyntaxError):
        return argument


def _check_instance(environment: Mapping[str, str]) -> None:
    """Checks that the job has one instance.

    Raises:
        JobError: it has several, each of which would train the same model.
    """
    hosts = json.loads(environment.get("SM_HOSTS") or "[]")
    if len(hosts) > 1:
        raise JobError(
            f"the job has {len(hosts)} instances, and each would train the same model: set InstanceCount to 1 "
            "and choose a larger instance"
        )


def _check_gpus(environment: Mapping[str, str]) -> None:
    """Checks before training that TensorFlow finds the instance's GPUs, since an unused GPU costs money.

    Raises:
        JobError: the instance has GPUs, and TensorFlow finds none.
    """
    text = environment.get("SM_NUM_GPUS") or "0"
    if not text.isdecimal():
        raise JobError(f"SM_NUM_GPUS = {text!r} is not a number of GPUs")
    if text.strip("0") == "":
        return
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    if not count:
        raise JobError(
            f"the instance has {text} GPUs (SM_NUM_GPUS), and TensorFlow finds none of them: use an image with CUDA, "
            "or an instance without a GPU"
        )
    if count > 1:
        print(f"one of {count} GPUs is used: an instance with one costs less", flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    """Signal handler that exits with `STOPPED`."""
    print(f"stopped by SIGTERM: the same job continues from {Path('runs').resolve()}", file=sys.stderr, flush=True)
    sys.exit(STOPPED)

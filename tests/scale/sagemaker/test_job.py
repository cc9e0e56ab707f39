"""A training job in the test's own process; tests/scale/sagemaker/test_trial.py runs one as SageMaker does."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import train
from headstand import recipe
from headstand.errors import HeadstandError
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset
from headstand.scale.sagemaker import job
from headstand.scale.sagemaker.job_folders import JobError
from headstand.scale.sagemaker.training_requests import METRICS, OBJECTIVE
from headstand.serve.classifier import Classifier
from tests import commands
from tests.export.conftest import cached_conversions, conversions  # noqa: F401 - each model is converted once
from tests.scale.sagemaker.opt import Container

pytestmark = pytest.mark.usefixtures("small_networks", "undrawn")


@pytest.fixture
def container(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    result = Container.make(workplace / "opt")
    kept = dict(os.environ)
    handler = signal.getsignal(signal.SIGTERM)
    yield result
    signal.signal(signal.SIGTERM, handler)
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def filled(container: Container, dataset: Dataset) -> Container:
    """With channels for training and validation."""
    for split, channel in (("train", "training"), ("validation", "validation")):
        shutil.copytree(dataset.folder / split, container.channel(channel), dirs_exist_ok=True)
    os.environ.update(container.variables())
    return container


def run(container: Container, *argv: str) -> None:
    job.run(train.main, ["--head.epochs", "4", *argv, "--recipe", container.recipe])


class Started(Exception):
    """Raised in place of a training."""


def start(argv: list[str]) -> None:
    raise Started(argv[1:])


def test_elsewhere_train_py_is_as_it_was(container: Container) -> None:
    assert job.around(train.main) is train.main
    os.environ["SM_MODEL_DIR"] = "/opt/ml/model"
    assert job.around(train.main) is not train.main


def test_the_channels_photos_are_learnt_once_and_the_model_is_left_for_an_endpoint(
    filled: Container, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    run(filled, "--_tuning_objective_metric", "val_accuracy", "--model_dir", "s3://bucket/job/model")
    model = filled.base / "model"
    assert sorted(path.name for path in model.iterdir()) == [
        "README.md",
        "poses.h5",
        "poses.parity.json",
        "poses.tflite",
    ]
    assert Classifier(model / "poses.tflite").bundle.labels == dataset.classes
    report = json.loads((filled.base / "output" / "data" / "report.json").read_text())
    # Validation as it was given; the test split is cut from what was given for training.
    assert report["data"]["photos"] == {"train": 18, "validation": 12, "test": 6}
    assert report["recipe"]["head"]["epochs"] == 4
    assert not [path for path in (filled.base / "output").rglob("*") if path.suffix in (".h5", ".tflite")]
    assert not (filled.base / "output" / "failure").exists()
    read = re.findall(METRICS[OBJECTIVE], capsys.readouterr().out)
    assert float(read[-1]) == pytest.approx(report["validation"]["accuracy"], abs=1e-4)

    # A start after the report only delivers the model, on another instance, which has the checkpoints' folder.
    first = (model / "poses.tflite").read_bytes()
    runs = filled.base / "checkpoints" / "runs" / "poses"
    (bundle,) = runs.glob("*/*.tflite")
    bundle.unlink()  # it was converting
    for folder in ("work", "model", "output"):
        shutil.rmtree(filled.base / folder)
    model.mkdir()
    run(filled)
    output = capsys.readouterr().out
    assert "features" not in output and re.search(r"^kept model val_loss=\S+ val_accuracy=\S+$", output, re.M)
    assert (model / "poses.tflite").read_bytes() == first
    assert len(list(runs.iterdir())) == 1
    # Other hyperparameters are another run.
    with pytest.raises(Started):
        job.run(start, ["--head.epochs", "4", "--head.dropout", "0.2", "--recipe", filled.recipe])


def test_a_prepared_dataset_is_taken_as_it_is(container: Container, dataset: Dataset) -> None:
    shutil.copytree(dataset.folder, container.channel("training"), dirs_exist_ok=True)
    os.environ.update(container.variables())
    with pytest.raises(Started):
        job.run(start, ["--recipe", container.recipe])
    assert manifest.read(Path("data/poses")).digest == dataset.digest


def test_lists_come_in_pythons_spelling_too(filled: Container) -> None:
    argv = ["--head.activation", "['relu', 'tanh']", "--head.inner", "[8, 4]"]
    with pytest.raises(Started) as raised:
        job.run(start, [*argv, "--recipe", filled.recipe])
    (given,) = raised.value.args
    assert given == ["--head.activation", '["relu", "tanh"]', *argv[2:]]
    assert recipe.load(filled.recipe, given).head.activation == ("relu", "tanh")


def test_a_channel_of_weights_is_where_weights_are_looked_for(filled: Container) -> None:
    filled.channel("weights")
    os.environ.update(filled.variables())
    with pytest.raises(HeadstandError, match=rf"there is no mine\.h5 \(searched .*{filled.channel('weights')}/mine"):
        run(filled, "--backbone.weights", "mine.h5")
    assert "there is no mine.h5" in filled.failure


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--head.dropuot", "0.5"], "--head.dropuot"),
        (["--recipe"], "--recipe: expected one argument"),
        (["--recipe", "nothing"], "there is no recipe 'nothing'"),
        (["--head.learning_rate", "99"], "head.learning_rate"),
    ],
)
def test_bad_hyperparameters_fail_in_one_line_and_in_the_failure_file(
    filled: Container,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    message: str,
) -> None:
    assert commands.status(monkeypatch, job.around(train.main), "train.py", *argv) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert filled.failure in error
    assert not list((filled.base / "model").iterdir())


def test_more_instances_than_one_are_refused(filled: Container) -> None:
    os.environ.update(filled.variables(hosts=2))
    with pytest.raises(JobError, match=r"the job has 2 instances.*InstanceCount to 1"):
        run(filled)


def test_a_gpu_that_would_be_paid_for_and_not_used_is_told(filled: Container) -> None:
    os.environ.update(filled.variables(gpus=4))
    with pytest.raises(JobError, match=r"the instance has 4 GPUs .*TensorFlow finds none"):
        run(filled)
    os.environ["SM_NUM_GPUS"] = "many"
    with pytest.raises(JobError, match="SM_NUM_GPUS = 'many' is not a number"):
        run(filled)


def test_a_fault_of_ours_is_told_too_and_passed_on(filled: Container) -> None:
    def faulty(argv: list[str]) -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(ZeroDivisionError):
        job.run(faulty, ["--recipe", filled.recipe])
    assert filled.failure == "ZeroDivisionError: division by zero (a bug in Headstand; see the traceback in the log)"


def test_sigterm_ends_the_job_with_its_own_status_and_is_no_failure(
    filled: Container, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def long(argv: list[str]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    around = job.around(long)
    assert commands.status(monkeypatch, around, "train.py", "--recipe", filled.recipe) == 143
    assert f"continues from {filled.base / 'checkpoints' / 'runs'}" in capsys.readouterr().err
    assert not (filled.base / "output" / "failure").exists()

"""The whole contract as SageMaker keeps it: a container's folders, processes, a spot interruption, an endpoint."""

import json
import re
import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from headstand.poses import rendered
from headstand.recipe import Source
from headstand.scale.sagemaker.training_requests import METRICS, OBJECTIVE
from tests.scale.sagemaker.opt import RECIPE, Container
from tests.serve.service import running, until

TUNED = RECIPE + '\n[finetune]\nepochs = 5\nbatch_size = 8\nunfreeze = "1 block"\n[augmentation]\nviews = 2\n'


@pytest.mark.slow
def test_a_spot_job_is_interrupted_resumed_and_served(workplace: Path) -> None:
    container = Container.make(workplace / "opt", TUNED)
    listing = rendered.listing(Source(kind="rendered", per_class=10, size=64), 1)
    for index, item in enumerate(listing.items):
        channel = container.channel("validation" if index % 5 == 0 else "training")
        (channel / item.class_).mkdir(exist_ok=True)
        shutil.copy(item.path, channel / item.class_)
    container.configure({"recipe": container.recipe, "head.epochs": "5", "_tuning_objective_metric": "val_accuracy"})
    start = ("-m", "headstand.scale.sagemaker.container", "train")
    process = container.start(*start, SAGEMAKER_BASE_DIR=str(container.base))
    try:
        until(lambda: "epoch 2/5" in container.log or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143, container.log
    finally:
        process.kill()
    first = container.log
    assert not (container.base / "output" / "failure").exists()
    assert not list((container.base / "model").iterdir())

    # The next instance has what S3 kept: the files of the channels and of the checkpoints.
    shutil.rmtree(container.base / "work")
    for folder in ("input/data", "checkpoints"):
        _through_s3(container.base / folder)
    process = container.start(*start, SAGEMAKER_BASE_DIR=str(container.base))
    assert process.wait(120) == 0, container.log
    second = container.log[len(first) :]
    assert re.search(r"^resuming runs/poses/", second, re.M)
    assert "60 photos, 0 computed, the others from the cache" in second
    before, after = ([int(n) for n in re.findall(r"^epoch (\d)/5", log, re.M)] for log in (first, second))
    # An epoch is told before it is kept: the last one told may be lost, and no other.
    assert before == list(range(1, len(before) + 1)) and 2 <= len(before) < 5
    assert after == list(range(after[0], 6)) and after[0] in (len(before), len(before) + 1)

    # SageMaker packs the model's folder, and unpacks it for the endpoint.
    with tarfile.open(workplace / "model.tar.gz", "w:gz") as archive:
        archive.add(container.base / "model", ".")
    served = workplace / "endpoint"
    with tarfile.open(workplace / "model.tar.gz") as archive:
        archive.extractall(served, filter="data")
    report = json.loads((container.base / "output" / "data" / "report.json").read_text())
    assert float(re.findall(METRICS[OBJECTIVE], container.log)[-1]) == pytest.approx(
        report["validation"]["accuracy"], abs=1e-4
    )
    photo = next(container.channel("validation").rglob("*.*")).read_bytes()
    words = ("headstand.serve.endpoint", "serve")
    bind = "--bind 127.0.0.1:0"
    with running(served / "poses.tflite", workplace / "run", argv=words, GUNICORN_CMD_ARGS=bind) as endpoint:
        assert endpoint.ask("GET", "/ping").status == 200
        answer = endpoint.ask("POST", "/invocations", photo, **{"Content-Type": "application/x-image"})
        assert answer.status == 200
        assert set(answer.json) == set(listing.classes)
        assert sum(answer.json.values()) == pytest.approx(1, abs=1e-5)
        attributes = answer.headers["X-Amzn-SageMaker-Custom-Attributes"]
        confident, known = answer.headers["Headstand-Confident"], answer.headers["Headstand-Known"]
        assert attributes == f"confident={confident},known={known}"


def _through_s3(folder: Path) -> None:
    """Put new copies of the files in place of a folder: S3 knows neither empty folders nor times nor permissions."""
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

"""What can be known of the training image without building it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from headstand import recipe as recipes
from tests.scale.sagemaker.opt import ROOT, Container

HOME = ROOT / "deploy" / "sagemaker"
DOCKERFILE = (HOME / "Dockerfile").read_text()
IMAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def _exec(instruction: str) -> list[str]:
    (found,) = re.findall(rf"^{instruction} (\[.+\])$", IMAGE, re.M)
    return list(json.loads(found))


def copied() -> list[str]:
    return [line.split()[1] for line in IMAGE.splitlines() if line.startswith("COPY ") and "--from" not in line]


def test_the_image_starts_train_py_on_what_it_holds(tmp_path: Path) -> None:
    for source in copied():
        ignore = shutil.ignore_patterns("__pycache__", "*.h5", "*.tflite", "samples")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / "code" / source, ignore=ignore)
        else:
            (tmp_path / "code").mkdir(exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / "code")
    container = Container.make(tmp_path / "opt")
    container.configure({"recipe": "yoga107", "head.dropuot": "0.5"})
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HEADSTAND_", "SM_"))}
    environment = {**own, "SAGEMAKER_BASE_DIR": str(container.base), "PYTHONPATH": str(tmp_path / "code")}
    command = [sys.executable, *_exec("ENTRYPOINT")[1:], *_exec("CMD")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ") and "head.dropuot" in done.stderr
    assert container.failure in done.stderr


def test_every_recipes_models_are_in_the_image() -> None:
    assert {"train.py", "headstand", "recipes", "models"} == set(copied())
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        backbone = recipes.load(path.stem).backbone
        for file in filter(None, (backbone.network_file, backbone.weights_file)):
            assert not (ROOT / file).exists() or file.startswith("models/")


def test_the_build_context_holds_what_is_copied_and_nothing_private() -> None:
    lines = [line for line in (HOME / "Dockerfile.dockerignore").read_text().splitlines() if line]
    ignored = [line for line in lines if not line.startswith("#")]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {*copied(), "Pipfile", "Pipfile.lock"}


def test_packages_are_those_of_the_lock() -> None:
    assert '--categories "packages aws" --hash' in DOCKERFILE and "--require-hashes" in DOCKERFILE
    locked = json.loads((ROOT / "Pipfile.lock").read_text())
    assert "tensorflow" in locked["default"] and "boto3" in locked["aws"]

"""A folder laid out as SageMaker lays out `/opt/ml` in a training container."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import photos

ROOT = Path(__file__).parents[3]

RECIPE = (
    photos.BACKBONE
    + """
[source]
kind = "kaggle"
dataset = "nobody/never-asked"

[head]
inner = 8
epochs = 6
learning_rate = 0.02
batch_size = 8

[search]
strategy = "none"
"""
)


@dataclass(frozen=True)
class Container:
    """The folder, and beside it the recipe `poses`, as the code that the job brings."""

    base: Path

    @classmethod
    def make(cls, base: Path, text: str = RECIPE) -> "Container":
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (base / name).mkdir(parents=True)
        (base / "poses.toml").write_text(text)
        return cls(base)

    @property
    def recipe(self) -> str:
        return str(self.base / "poses.toml")

    @property
    def failure(self) -> str:
        return (self.base / "output" / "failure").read_text()

    def channel(self, name: str) -> Path:
        path = self.base / "input" / "data" / name
        path.mkdir(exist_ok=True)
        return path

    def variables(self, gpus: int = 0, hosts: int = 1) -> dict[str, str]:
        """As SageMaker's toolkit sets them for an entry point."""
        channels = {path.name: str(path) for path in sorted((self.base / "input" / "data").iterdir())}
        return {
            "SM_MODEL_DIR": str(self.base / "model"),
            "SM_OUTPUT_DATA_DIR": str(self.base / "output" / "data"),
            "SM_NUM_GPUS": str(gpus),
            "SM_HOSTS": json.dumps([f"algo-{number}" for number in range(1, hosts + 1)]),
            **{f"SM_CHANNEL_{name.upper()}": folder for name, folder in channels.items()},
        }

    def configure(self, hyperparameters: Mapping[str, Any]) -> None:
        """Write what SageMaker writes into `input/config`."""
        channels = [path.name for path in (self.base / "input" / "data").iterdir()]
        found = {
            "hyperparameters": hyperparameters,
            "inputdataconfig": {name: {"TrainingInputMode": "File"} for name in channels},
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
        }
        for name, value in found.items():
            (self.base / "input" / "config" / f"{name}.json").write_text(json.dumps(value))

    def start(self, *argv: str, **more: str) -> "subprocess.Popen[bytes]":
        """A process as SageMaker would start it; both streams go to `log`."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HEADSTAND_", "SM_"))}
        environment = {**own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}
        with (self.base / "log").open("a") as log:
            return subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return (self.base / "log").read_text()

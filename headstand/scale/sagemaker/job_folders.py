"""Folders of a SageMaker training container, and its failure file.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html; the variables are those of
SageMaker's training toolkit.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstand.errors import HeadstandError

MODEL = "SM_MODEL_DIR"
"""Environment variable with the model's folder; it is set only in a training job."""

OUTPUT = "SM_OUTPUT_DATA_DIR"

LONGEST = 1024
"""Bytes of the failure file that become the job's `FailureReason`."""


class JobError(HeadstandError):
    """A training job has unsupported instances, channels or hyperparameters."""


@dataclass(frozen=True)
class JobFolders:
    """Folders of a training container.

    SageMaker packs `model` into `model.tar.gz` and `output` into `output.tar.gz`. It synchronizes `checkpoints` with S3
    continuously, and restores it when the job continues after an interruption. `work` is deleted with the container.
    """

    model: Path
    output: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "JobFolders":
        """Returns the folders given by the variables, such as `/opt/ml/model` and `/opt/ml/output/data`."""
        model = Path(environment[MODEL]).absolute()
        output = environment.get(OUTPUT)
        return cls(model, Path(output).absolute() if output else model.parent / "output" / "data")

    @property
    def checkpoints(self) -> Path:
        return self.model.parent / "checkpoints"

    @property
    def work(self) -> Path:
        return self.model.parent / "work"

    @property
    def failure(self) -> Path:
        """File whose first kilobyte SageMaker shows as the reason of a failure."""
        return self.output.parent / "failure"

    def fail(self, error: Exception) -> None:
        """Writes the reason of a failure as a readable message to the failure file."""
        if isinstance(error, HeadstandError) or (isinstance(error, OSError) and error.strerror):
            message = str(error)
        else:
            message = f"{type(error).__name__}: {error} (a bug in Headstand; see the traceback in the log)"
        self.failure.parent.mkdir(parents=True, exist_ok=True)
        self.failure.write_bytes(message.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore").encode())

    def enter(self) -> None:
        """Changes to the folder `work`, with its runs and computed features linked to `checkpoints`."""
        _link(self.work / "runs", self.checkpoints / "runs")
        if "HEADSTAND_CACHE" not in os.environ:
            # Only these two: the cache also holds downloads and unpacked archives, which are in S3 already.
            for name in ("features", "activations"):
                _link(self.work / "cache" / name, self.checkpoints / name)
            os.environ["HEADSTAND_CACHE"] = str(self.work / "cache")
        os.chdir(self.work)


def _link(path: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)

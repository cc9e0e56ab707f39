"""The folders that SageMaker gives a training container, and where a failure is told.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html names them; the variables are those
of its training toolkit.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstand.errors import HeadstandError

MODEL = "SM_MODEL_DIR"
"""Its presence says that this is a training job."""

OUTPUT = "SM_OUTPUT_DATA_DIR"

LONGEST = 1024
"""Bytes of the failure file that become the job's `FailureReason`."""


class JobError(HeadstandError):
    """A training job whose instance, channels or hyperparameters do not go with Headstand."""


@dataclass(frozen=True)
class Place:
    """A training container's folders.

    What lies in `model` becomes `model.tar.gz`, what lies in `output` becomes `output.tar.gz`. `checkpoints` goes to S3
    all the time, and comes back from there when the job goes on after an interruption. `work` ends with the container.
    """

    model: Path
    output: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Place":
        """The folders that these variables name: `/opt/ml/model`, `/opt/ml/output/data` and those beside them."""
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
        """The file whose first kilobyte SageMaker shows as the reason of a failure."""
        return self.output.parent / "failure"

    def fail(self, error: Exception) -> None:
        """Write the reason of a failure, as a person is to read it."""
        if isinstance(error, HeadstandError) or (isinstance(error, OSError) and error.strerror):
            told = str(error)
        else:
            told = f"{type(error).__name__}: {error} (a fault of Headstand's; the log has the traceback)"
        self.failure.parent.mkdir(parents=True, exist_ok=True)
        self.failure.write_bytes(told.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore").encode())

    def enter(self) -> None:
        """Make `work` the current folder; the runs and computed features in it lie in `checkpoints`."""
        _link(self.work / "runs", self.checkpoints / "runs")
        if "HEADSTAND_CACHE" not in os.environ:
            # Not the whole cache: it holds downloads and unpacked archives too, which S3 has already.
            for name in ("features", "activations"):
                _link(self.work / "cache" / name, self.checkpoints / name)
            os.environ["HEADSTAND_CACHE"] = str(self.work / "cache")
        os.chdir(self.work)


def _link(path: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)

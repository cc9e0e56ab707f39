"""The request for a training job: a recipe and its changes as hyperparameters, channels, spot, rules."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headstand import naming
from headstand import recipe as recipes
from headstand.cloud import rules
from headstand.cloud.account import CloudError, Request
from headstand.recipe import Recipe

OBJECTIVE = "val_accuracy"

METRICS = {
    OBJECTIVE: r"val_accuracy=([0-9.]+)",
    "val_loss": r"val_loss=([0-9.]+)",
    "accuracy": r"\baccuracy=([0-9.]+)",
    "loss": r"\bloss=([0-9.]+)",
}
"""Figures that SageMaker reads in the log, by regular expressions over the lines that `train.py` prints. Nothing of the
test split: nobody shall choose by it."""

LONGEST = 63
"""Characters in the name of a job, model or endpoint."""

_PLACES = ("source", "source.kind", "source.folder", "source.table", "source.images", "source.annotations")
"""Keys that name places on this machine, or none where there is a channel."""

TAGS = [{"Key": "project", "Value": "headstand"}]


@dataclass(frozen=True)
class Setup:
    """Where and on what jobs run.

    Attributes:
        role: the ARN of the role that the job takes on.
        image: the training image's address in ECR.
        output: the place in S3 under which a job's results and checkpoints go.
        channels: places in S3 by channel: training, validation, test, weights.
        instance: its type.
        volume: GB of disk.
        hours: after which the job is stopped; a spot job may wait as long again.
        spot: use spare capacity, which may be taken away, and costs a third or so.
        isolated: no network for the container; weights then come by the channel.
        environment: variables for the container.
    """

    role: str
    image: str
    output: str
    channels: Mapping[str, str]
    instance: str = "ml.m5.xlarge"
    volume: int = 30
    hours: float = 4.0
    spot: bool = False
    isolated: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def definition(self, checkpoints: str | None) -> Request:
        """What training jobs and the trials of a tuning job have in common.

        Args:
            checkpoints: their place in S3, if any are to be kept.
        """
        seconds = round(self.hours * 3600)
        wait = {"MaxWaitTimeInSeconds": 2 * seconds} if self.spot else {}
        return {
            "AlgorithmSpecification": {
                "TrainingImage": self.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
            },
            "RoleArn": self.role,
            **({"InputDataConfig": [_channel(*item) for item in self.channels.items()]} if self.channels else {}),
            "OutputDataConfig": {"S3OutputPath": self.output},
            "ResourceConfig": {"InstanceType": self.instance, "InstanceCount": 1, "VolumeSizeInGB": self.volume},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds, **wait},
            **({"CheckpointConfig": {"S3Uri": checkpoints}} if checkpoints else {}),
            "EnableManagedSpotTraining": self.spot,
            "EnableNetworkIsolation": self.isolated,
            **({"Environment": dict(self.environment)} if self.environment else {}),
        }

    def place(self, job: str) -> str:
        """Where a job's own files go; `model.tar.gz` and `output.tar.gz` lie in its folder `output`."""
        return f"{self.output.rstrip('/')}/{job}"


def request(
    job: str,
    hyperparameters: Mapping[str, str],
    setup: Setup,
    region: str,
    *,
    checkpoints: str | None = None,
    profiler: bool = False,
    debugger: bool = False,
) -> Request:
    """The arguments of CreateTrainingJob.

    Args:
        job: its name.
        hyperparameters: see `hyperparameters`.
        setup: where and on what it runs.
        region: chooses the rules' image.
        checkpoints: of an earlier job that this one goes on from.
        profiler: watch the instance, and write a report.
        debugger: watch tensors.
    """
    place = setup.place(job)
    watched = rules.profiler(region, f"{place}/profiler") if profiler else {"ProfilerConfig": {"DisableProfiler": True}}
    return {
        "TrainingJobName": job,
        "HyperParameters": dict(hyperparameters),
        **setup.definition(checkpoints or f"{place}/checkpoints"),
        **watched,
        **(rules.debugger(region, f"{place}/debugger") if debugger else {}),
        "Tags": TAGS,
    }


def hyperparameters(name: str, words: Sequence[str]) -> tuple[Recipe, dict[str, str]]:
    """A recipe with changes, and the same as hyperparameters of a job, where they become `--key value` again.

    Args:
        name: of a recipe that the image holds.
        words: such as `["--head.dropout", "0.5"]`.

    Raises:
        RecipeError: a key or value that is not allowed: told before an instance is paid for.
        CloudError: a word that is no `--key value`, or a recipe by its path, which the image does not hold.
    """
    if name.endswith((".toml", ".json")):
        raise CloudError(f"{name}: the image holds the recipes of recipes/, by their names; build it with yours there")
    recipe = recipes.load(name, list(words))
    found = {"recipe": name}
    rest = iter(words)
    for word in rest:
        key, joined, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise CloudError(f"{word!r} is no --key value of a recipe")
        if key in _PLACES:
            raise CloudError(f"{word}: in a job the photos come by a channel: --data s3://BUCKET/KEY")
        text = value if joined else next(rest, None)
        if text is None:
            raise CloudError(f"{word} needs a value")
        found[key] = text
    return recipe, found


def name(*parts: str, longest: int = LONGEST) -> str:
    """Return a unique name in SageMaker's characters: the parts, the time and a random ending.

    Args:
        parts: the first one is shortened if the name would be too long.
        longest: characters that the name may have.
    """
    first, *others = (re.sub(r"[^a-zA-Z0-9]+", "-", part).strip("-") for part in parts)
    tail = "-".join(["", *others, naming.stamp("%y%m%d%H%M%S")])
    return first[: longest - len(tail)].rstrip("-") + tail


def _channel(name: str, address: str) -> Request:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                # A prefix: without the slash it would take photos/v10 with photos/v1.
                "S3Uri": f"{address.rstrip('/')}/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": "File",
    }

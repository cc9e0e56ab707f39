"""Builds CreateTrainingJob requests: the recipe as hyperparameters, channels, spot instances, rules."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headstand import naming
from headstand import recipe as recipes
from headstand.recipe import Recipe
from headstand.scale.sagemaker import builtin_rules
from headstand.scale.sagemaker.account import CloudError, Request

OBJECTIVE = "val_accuracy"

METRICS = {
    OBJECTIVE: r"val_accuracy=([0-9.]+)",
    "val_loss": r"val_loss=([0-9.]+)",
    "accuracy": r"\baccuracy=([0-9.]+)",
    "loss": r"\bloss=([0-9.]+)",
}
"""Regular expressions by which SageMaker extracts metrics from the log of `train.py`. Test metrics are left out, so
that nobody selects a model by them."""

LONGEST = 63
"""Largest length of the name of a job, model or endpoint."""

_SOURCE_KEYS = ("source", "source.kind", "source.folder", "source.table", "source.images", "source.annotations")
"""Recipe keys with local paths, which are not allowed in a job: its photos come from a channel."""

TAGS = [{"Key": "project", "Value": "headstand"}]


@dataclass(frozen=True)
class Setup:
    """Resources of a job.

    Attributes:
        role: ARN of the job's role.
        image: address of the training image in ECR.
        output: S3 address under which a job's results and checkpoints are stored.
        channels: S3 addresses by channel: training, validation, test, weights.
        instance: instance type.
        volume: GB of disk.
        hours: time limit of the job; a spot job may wait as long again.
        spot: use spare capacity, which may be reclaimed, at about a third of the price.
        isolated: no network for the container; weights then come from the channel.
        environment: variables of the container.
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
        """Returns the arguments that training jobs and the trials of a tuning job share.

        Args:
            checkpoints: S3 address of the checkpoints; None to keep none.
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
    """Returns the arguments of CreateTrainingJob.

    Args:
        job: its name.
        hyperparameters: see `hyperparameters`.
        setup: resources of the job.
        region: selects the rules' image.
        checkpoints: S3 address of an earlier job's checkpoints to resume from.
        profiler: collect system metrics and write a report.
        debugger: collect tensors and evaluate rules on them.
    """
    location = f"{setup.output.rstrip('/')}/{job}"
    profiling = (
        builtin_rules.profiler(region, f"{location}/profiler")
        if profiler
        else {"ProfilerConfig": {"DisableProfiler": True}}
    )
    return {
        "TrainingJobName": job,
        "HyperParameters": dict(hyperparameters),
        **setup.definition(checkpoints or f"{location}/checkpoints"),
        **profiling,
        **(builtin_rules.debugger(region, f"{location}/debugger") if debugger else {}),
        "Tags": TAGS,
    }


def hyperparameters(name: str, argv: Sequence[str]) -> tuple[Recipe, dict[str, str]]:
    """Returns a recipe with changes, and the same as hyperparameters, which the job converts to `--key value` again.

    Args:
        name: of a recipe that the image contains.
        argv: such as `["--head.dropout", "0.5"]`.

    Raises:
        RecipeError: a key or value is not allowed; found before an instance is paid for.
        CloudError: an argument is not `--key value`, or the recipe is given by its path, which the image does not have.
    """
    if name.endswith((".toml", ".json")):
        raise CloudError(f"{name}: the image holds the recipes of recipes/, by their names; build it with yours there")
    recipe = recipes.load(name, list(argv))
    values = {"recipe": name}
    rest = iter(argv)
    for argument in rest:
        key, joined, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not key:
            raise CloudError(f"{argument!r} is not --key value of a recipe")
        if key in _SOURCE_KEYS:
            raise CloudError(f"{argument}: a job gets its photos from a channel: --data s3://BUCKET/KEY")
        text = value if joined else next(rest, None)
        if text is None:
            raise CloudError(f"{argument} needs a value")
        values[key] = text
    return recipe, values


def name(*parts: str, longest: int = LONGEST) -> str:
    """Returns a unique name of characters that SageMaker allows: the parts, the time and a random suffix.

    Args:
        parts: the first one is shortened if the name would be too long.
        longest: largest length of the name.
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
                # S3Prefix matches a string prefix: without the slash photos/v1 would include photos/v10.
                "S3Uri": f"{address.rstrip('/')}/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": "File",
    }

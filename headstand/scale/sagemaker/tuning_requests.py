"""Builds CreateHyperParameterTuningJob requests: one job of a recipe's search, with one training job per trial."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstand.recipe import Recipe
from headstand.recipe.search_space import LAYERS, TRIALS, UNITS, Job, whole
from headstand.scale.sagemaker.account import CloudError, Request
from headstand.scale.sagemaker.training_requests import OBJECTIVE, TAGS, Setup

LONGEST = 32
"""Largest length of the name of a tuning job."""

MOST_VALUES = 30
"""SageMaker's limit on the values of one categorical hyperparameter."""

MOST_PARENTS = 5
"""SageMaker's limit on the tuning jobs that one is warm-started from."""

Ranges = dict[str, list[dict[str, Any]]]


def jobs(recipe: Recipe) -> tuple[Job, ...]:
    """Returns the jobs of the recipe's search.

    Raises:
        CloudError: the recipe has no search, or searches one parameter after the other.
    """
    if recipe.search.strategy not in ("tpe", "grid"):
        raise CloudError(
            f"search.strategy = {recipe.search.strategy!r}: a tuning job tries several parameters at once; "
            "--search.strategy tpe or grid does so with what the recipe's stages name"
        )
    return recipe.search.plan


def request(
    name: str,
    recipe: Recipe,
    job: Job,
    hyperparameters: Mapping[str, str],
    setup: Setup,
    *,
    parallel: int = 2,
    parents: Sequence[str] = (),
) -> Request:
    """Returns the arguments of CreateHyperParameterTuningJob.

    Each trial trains one head. Other parameters are those of the recipe, whose search is turned off.

    Args:
        name: of the tuning job.
        recipe: its strategy and seed are used.
        job: the parameters to search.
        hyperparameters: of the recipe, see `headstand.scale.sagemaker.training_requests.hyperparameters`.
        setup: resources of the trials.
        parallel: number of concurrent trials.
        parents: earlier tuning jobs with the same data and image, for a warm start.

    Raises:
        CloudError: a parameter has no range in SageMaker, or the parents do not fit the job.
    """
    if job.warm_start and not parents:
        raise CloudError("the recipe warm-starts this job: name an earlier tuning job with --warm-start TUNINGJOB")
    if len(parents) > MOST_PARENTS:
        raise CloudError(f"{len(parents)} parents; a tuning job learns from {MOST_PARENTS} at most")
    fixed, searched = ranges(job, recipe.search.strategy == "grid")
    limits = {"MaxParallelTrainingJobs": parallel}
    if recipe.search.strategy == "tpe":
        limits["MaxNumberOfTrainingJobs"] = job.trials or TRIALS
    elif parents:
        raise CloudError("a grid trains every combination, so --warm-start has no effect: leave it out")
    clash = sorted({f"head.{key}" for key in job.parameters} & set(hyperparameters))
    if clash:
        raise CloudError(f"--{clash[0]} is searched by this job: leave it out, or change search.jobs")
    tuned: Request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            # SageMaker's Bayesian strategy is a Gaussian process, not the recipe's tree of Parzen estimators.
            "Strategy": {"tpe": "Bayesian", "grid": "Grid"}[recipe.search.strategy],
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": OBJECTIVE},
            "ResourceLimits": limits,
            "ParameterRanges": searched,
            "TrainingJobEarlyStoppingType": "Auto" if job.pruning and recipe.search.strategy == "tpe" else "Off",
            "RandomSeed": recipe.seed,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                **{key: value for key, value in hyperparameters.items() if not key.startswith("search")},
                **fixed,
                "search.strategy": "none",
            },
            # No checkpoints: all trials would share one address, and each takes only minutes.
            **setup.definition(None),
        },
        "Tags": TAGS,
    }
    if parents:
        tuned["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents],
            "WarmStartType": "IdenticalDataAndAlgorithm",
        }
    return tuned


def ranges(job: Job, grid: bool = False) -> tuple[dict[str, str], Ranges]:
    """Returns a job's parameters as hyperparameters: those with a single value, and the ranges of the others.

    Ranges are continuous or integer, with logarithmic scaling if the recipe sets `log`. Lists of values and ranges with
    a step are categorical.

    Args:
        job: the parameters to search.
        grid: make all parameters categorical, as SageMaker requires for a grid.

    Raises:
        CloudError: the job searches the number and size of inner layers, or a parameter has too many values.
    """
    fixed: dict[str, str] = {}
    varied: Ranges = {}
    for name, dimension in job.parameters.items():
        if name in (LAYERS, UNITS):
            raise CloudError(
                f"{name} is not a key of the head, by which trials set their values: search inner = {{ values = "
                "[[100], [100, 100]] } instead"
            )
        key = f"head.{name}"
        listed = dimension.low is None or (dimension.step and not (whole(name) and dimension.step == 1))
        if grid or listed:
            values = [argument_text(value) for value in dimension.listed(name)]
            if len(values) > MOST_VALUES:
                raise CloudError(f"{name} has {len(values)} values; a tuning job takes {MOST_VALUES} of one parameter")
            if len(values) == 1:
                fixed[key] = values[0]
            else:
                varied.setdefault("CategoricalParameterRanges", []).append({"Name": key, "Values": values})
            continue
        kind = "IntegerParameterRanges" if whole(name) else "ContinuousParameterRanges"
        low, high = dimension.ends(name)
        entry = {"Name": key, "MinValue": argument_text(low), "MaxValue": argument_text(high)}
        varied.setdefault(kind, []).append({**entry, "ScalingType": "Logarithmic" if dimension.log else "Linear"})
    if not varied:
        raise CloudError("there is nothing to search: every parameter has one value only")
    return fixed, varied


def argument_text(value: Any) -> str:
    """Returns a value in the notation of the command line."""
    if isinstance(value, tuple):
        return (
            "[" + ", ".join(argument_text(each) if not isinstance(each, str) else f'"{each}"' for each in value) + "]"
        )
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The request for a hyperparameter tuning job: one job of a recipe's search, its trials one training job each."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstand.cloud.account import CloudError, Request
from headstand.cloud.training import OBJECTIVE, TAGS, Setup
from headstand.recipe import Recipe
from headstand.space import LAYERS, TRIALS, UNITS, Job, whole

LONGEST = 32
"""Characters in the name of a tuning job."""

MOST_VALUES = 30
"""Values of one categorical hyperparameter, by SageMaker's limit."""

MOST_PARENTS = 5
"""Tuning jobs that one is warm-started from, by SageMaker's limit."""

Ranges = dict[str, list[dict[str, Any]]]


def jobs(recipe: Recipe) -> tuple[Job, ...]:
    """The jobs of the recipe's search.

    Raises:
        CloudError: it searches one parameter after the other, or nothing.
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
    """The arguments of CreateHyperParameterTuningJob.

    Each trial trains one head: what is not searched stands as in the recipe, and the recipe's own search is turned off.

    Args:
        name: of the tuning job.
        recipe: gives strategy and seed.
        job: what is searched.
        hyperparameters: of the recipe, see `headstand.cloud.training.hyperparameters`.
        setup: where and on what the trials run.
        parallel: how many of them at a time.
        parents: earlier tuning jobs of the same data and image to learn from.

    Raises:
        CloudError: a parameter that SageMaker has no range for, or parents that the job does not go with.
    """
    if job.warm_start and not parents:
        raise CloudError("the recipe starts this job from what an earlier one learnt: --warm-start TUNINGJOB names it")
    if len(parents) > MOST_PARENTS:
        raise CloudError(f"{len(parents)} parents; a tuning job learns from {MOST_PARENTS} at most")
    fixed, searched = ranges(job, recipe.search.strategy == "grid")
    limits = {"MaxParallelTrainingJobs": parallel}
    if recipe.search.strategy == "tpe":
        limits["MaxNumberOfTrainingJobs"] = job.trials or TRIALS
    elif parents:
        raise CloudError("a grid tries every combination, so it has nothing to learn from --warm-start")
    clash = sorted({f"head.{key}" for key in job.parameters} & set(hyperparameters))
    if clash:
        raise CloudError(f"--{clash[0]} is what this job searches: leave it out, or change search.jobs")
    tuned: Request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            # Bayesian: a Gaussian process in place of the recipe's tree of Parzen estimators.
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
            # Without checkpoints: trials would share one place, and each is over in minutes.
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
    """A job's parameters as hyperparameters: those with one value only, and the ranges of the others.

    Ranges are continuous or of whole numbers, with logarithmic scaling where the recipe says `log`; values, and ranges
    with a step, are categorical.

    Args:
        job: what is searched.
        grid: all are categorical, as SageMaker wants it for a grid.

    Raises:
        CloudError: number and size of inner layers, or more values than SageMaker takes.
    """
    fixed: dict[str, str] = {}
    found: Ranges = {}
    for name, dimension in job.parameters.items():
        if name in (LAYERS, UNITS):
            raise CloudError(
                f"{name} is no key of the head, which trials take their values by: search inner = {{ values = "
                "[[100], [100, 100]] } instead"
            )
        key = f"head.{name}"
        listed = dimension.low is None or (dimension.step and not (whole(name) and dimension.step == 1))
        if grid or listed:
            values = [written(value) for value in dimension.listed(name)]
            if len(values) > MOST_VALUES:
                raise CloudError(f"{name} has {len(values)} values; a tuning job takes {MOST_VALUES} of one parameter")
            if len(values) == 1:
                fixed[key] = values[0]
            else:
                found.setdefault("CategoricalParameterRanges", []).append({"Name": key, "Values": values})
            continue
        kind = "IntegerParameterRanges" if whole(name) else "ContinuousParameterRanges"
        low, high = dimension.ends(name)
        entry = {"Name": key, "MinValue": written(low), "MaxValue": written(high)}
        found.setdefault(kind, []).append({**entry, "ScalingType": "Logarithmic" if dimension.log else "Linear"})
    if not found:
        raise CloudError("there is nothing to search: every parameter has one value only")
    return fixed, found


def written(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(written(each) if not isinstance(each, str) else f'"{each}"' for each in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)

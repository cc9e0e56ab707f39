from typing import Any

import pytest
from botocore.stub import Stubber

from headstand import recipe as recipes
from headstand.recipe import Recipe
from headstand.recipe.search_space import Dimension, Job
from headstand.scale.sagemaker import tuning_requests
from headstand.scale.sagemaker.account import CloudError
from headstand.scale.sagemaker.container import hyperparameters
from tests.scale.sagemaker import jobs
from tests.scale.sagemaker.model import hold

YOGA107 = recipes.load("yoga107")


def request(step: int, recipe: Recipe = YOGA107, **how: Any) -> dict[str, Any]:
    found = tuning_requests.request(
        f"yoga107-{step}",
        recipe,
        tuning_requests.jobs(recipe)[step - 1],
        {"recipe": "yoga107", "seed": "1"},
        jobs.setup(),
        **how,
    )
    hold("CreateHyperParameterTuningJob", found)
    return found


def ranges(**dimensions: dict[str, Any]) -> tuple[dict[str, str], tuning_requests.Ranges]:
    return tuning_requests.ranges(Job.model_validate({"parameters": dimensions}))


def test_the_originals_first_job_searches_the_rate_on_a_logarithmic_scale() -> None:
    result = request(1)
    config = result["HyperParameterTuningJobConfig"]
    assert config["ParameterRanges"] == {
        "ContinuousParameterRanges": [
            {
                "Name": "head.learning_rate",
                "MinValue": "0.005",
                "MaxValue": "0.015",
                "ScalingType": "Logarithmic",
            }
        ],
        "CategoricalParameterRanges": [
            {"Name": "head.batch_size", "Values": ["16", "20", "30", "40"]},
            {"Name": "head.epochs", "Values": ["5", "10"]},
        ],
    }
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "val_accuracy"}
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 2}
    assert config["Strategy"] == "Bayesian"
    job = result["TrainingJobDefinition"]
    assert job["StaticHyperParameters"] == {"recipe": "yoga107", "seed": "1", "search.strategy": "none"}
    assert {"Name": "val_accuracy", "Regex": r"val_accuracy=([0-9.]+)"} in job["AlgorithmSpecification"][
        "MetricDefinitions"
    ]
    # Trials would share one place.
    assert "CheckpointConfig" not in job
    assert "WarmStartConfig" not in result


def test_what_has_one_value_is_not_searched() -> None:
    result = request(3)
    assert result["TrainingJobDefinition"]["StaticHyperParameters"]["head.epochs"] == "6"
    found = result["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert [entry["Name"] for entries in found.values() for entry in entries] == [
        "head.learning_rate",
        "head.batch_size",
    ]


def test_the_second_job_learns_from_the_first() -> None:
    result = request(2, parents=["yoga107-1"])
    assert result["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "yoga107-1"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    with pytest.raises(CloudError, match="with --warm-start TUNINGJOB"):
        request(2)
    with pytest.raises(CloudError, match="6 parents; a tuning job learns from 5"):
        request(2, parents=list("abcdef"))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_trial_trains_what_it_is_told_and_searches_nothing(step: int) -> None:
    """SageMaker's values go back through the container's own reading and the recipe's own check."""
    result = request(step, parents=["a"])
    given = dict(result["TrainingJobDefinition"]["StaticHyperParameters"])
    found = result["HyperParameterTuningJobConfig"]["ParameterRanges"]
    for entry in found["ContinuousParameterRanges"]:
        given[entry["Name"]] = entry["MaxValue"]
    for entry in found["CategoricalParameterRanges"]:
        given[entry["Name"]] = entry["Values"][-1]
    name = given.pop("recipe")
    trained = recipes.load(name, hyperparameters(given))
    assert trained.search.plan == ()
    job = YOGA107.search.plan[step - 1]
    assert trained.head.learning_rate == job.parameters["learning_rate"].high
    assert trained.head.batch_size == job.parameters["batch_size"].values[-1]
    assert trained.head.optimizer == "adadelta"


def test_ranges_of_every_kind() -> None:
    fixed, found = ranges(
        dropout={"low": 0.0, "high": 0.5},
        epochs={"low": 5, "high": 50, "log": True},
        batch_size={"low": 8, "high": 64, "step": 8},
        patience={"low": 0, "high": 3, "step": 1},
        nesterov={"values": [True, False]},
        inner={"values": [100, [100, 50], []]},
        optimizer={"values": ["adam"]},
    )
    assert fixed == {"head.optimizer": "adam"}
    assert found["ContinuousParameterRanges"] == [
        {"Name": "head.dropout", "MinValue": "0.0", "MaxValue": "0.5", "ScalingType": "Linear"}
    ]
    assert found["IntegerParameterRanges"] == [
        {"Name": "head.epochs", "MinValue": "5", "MaxValue": "50", "ScalingType": "Logarithmic"},
        {"Name": "head.patience", "MinValue": "0", "MaxValue": "3", "ScalingType": "Linear"},
    ]
    assert {entry["Name"]: entry["Values"] for entry in found["CategoricalParameterRanges"]} == {
        "head.batch_size": ["8", "16", "24", "32", "40", "48", "56", "64"],
        "head.nesterov": ["true", "false"],
        "head.inner": ["100", "[100, 50]", "[]"],
    }


@pytest.mark.parametrize(
    "values",
    [
        {"inner": (100, 50)},
        {"inner": ()},
        {"activation": ("relu", "tanh"), "inner": (3, 3)},
        {"nesterov": True, "optimizer": "sgd", "momentum": 0.9},
        {"learning_rate": 1e-05},
    ],
)
def test_a_written_value_is_read_as_it_was(values: dict[str, Any]) -> None:
    argv = hyperparameters({f"head.{key}": tuning_requests.argument_text(value) for key, value in values.items()})
    head = recipes.load("yoga107", argv).head
    assert {key: getattr(head, key) for key in values} == values


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({"layers": {"values": [1, 2]}, "dropout": {"low": 0, "high": 0.5}}, "layers is not a key of the head.*inner"),
        ({"batch_size": {"values": list(range(1, 40))}}, "batch_size has 39 values; .* 30"),
        ({"epochs": {"values": [6]}}, "nothing to search"),
    ],
)
def test_what_sagemaker_has_no_range_for_is_told(dimensions: dict[str, Any], message: str) -> None:
    with pytest.raises(CloudError, match=message):
        ranges(**dimensions)


def test_a_grid_is_categorical_and_has_no_number_of_trials() -> None:
    argv = ["--search.strategy", "grid"]
    recipe = recipes.load("yoga6", argv)
    (job,) = tuning_requests.jobs(recipe)
    result = tuning_requests.request("g", recipe, job, {"recipe": "yoga6", "search.strategy": "grid"}, jobs.setup())
    hold("CreateHyperParameterTuningJob", result)
    config = result["HyperParameterTuningJobConfig"]
    assert config["Strategy"] == "Grid"
    assert set(config["ParameterRanges"]) == {"CategoricalParameterRanges"}
    assert config["ResourceLimits"] == {"MaxParallelTrainingJobs": 2}
    assert result["TrainingJobDefinition"]["StaticHyperParameters"]["search.strategy"] == "none"
    with pytest.raises(CloudError, match="--warm-start has no effect"):
        tuning_requests.request("g", recipe, job, {}, jobs.setup(), parents=["a"])
    stepped = Job(parameters={"dropout": Dimension(low=0.0, high=0.2, step=0.1)})
    assert tuning_requests.ranges(stepped, grid=True)[1]["CategoricalParameterRanges"][0]["Values"] == [
        "0.0",
        "0.1",
        "0.2",
    ]


def test_a_staged_search_and_a_change_to_what_is_searched_are_refused() -> None:
    with pytest.raises(CloudError, match=r"search\.strategy = 'staged'.*--search.strategy tpe or grid"):
        tuning_requests.jobs(recipes.load("yoga6"))
    with pytest.raises(CloudError, match=r"--head\.epochs is searched by this job"):
        tuning_requests.request("t", YOGA107, YOGA107.search.plan[0], {"head.epochs": "3"}, jobs.setup())


def test_the_stubber_and_the_stand_in_take_all_jobs_of_the_example(client: Any) -> None:
    with Stubber(client) as stub:
        for step in range(1, 6):
            result = request(step, parents=["a"])
            arn = f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{step}"
            stub.add_response("create_hyper_parameter_tuning_job", {"HyperParameterTuningJobArn": arn}, result)
            client.create_hyper_parameter_tuning_job(**result)
        stub.assert_no_pending_responses()
    for step in range(1, 6):
        client.create_hyper_parameter_tuning_job(**request(step, parents=["a"]))
    found = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="yoga107-4")
    (rate,) = found["HyperParameterTuningJobConfig"]["ParameterRanges"]["ContinuousParameterRanges"]
    assert (rate["MinValue"], rate["MaxValue"], rate["ScalingType"]) == ("0.12", "0.125", "Linear")

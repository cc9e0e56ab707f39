import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.recipe import RecipeError
from headstand.scale.sagemaker import builtin_rules, training_requests
from headstand.scale.sagemaker.account import CloudError
from tests.scale.sagemaker import jobs
from tests.scale.sagemaker.model import hold
from tests.test_naming import stop_clock

VALUES = {"recipe": "yoga107", "head.epochs": "40"}


def request(**changes: Any) -> dict[str, Any]:
    how = {key: changes.pop(key) for key in ("checkpoints", "profiler", "debugger") if key in changes}
    return training_requests.request("yoga107-1", VALUES, jobs.setup(**changes), "eu-central-1", **how)


def test_a_job_has_its_hyperparameters_channels_and_checkpoints() -> None:
    channels = {"training": "s3://photos/yoga107/", "weights": "s3://photos/weights"}
    result = request(channels=channels, instance="ml.g5.xlarge", volume=50, hours=1.5)
    hold("CreateTrainingJob", result)
    assert result["HyperParameters"] == VALUES
    sources = [(each["ChannelName"], each["DataSource"]["S3DataSource"]["S3Uri"]) for each in result["InputDataConfig"]]
    # With one slash at the end: S3 takes it for the start of keys, not for a folder.
    assert sources == [("training", "s3://photos/yoga107/"), ("weights", "s3://photos/weights/")]
    assert result["ResourceConfig"] == {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50}
    assert result["StoppingCondition"] == {"MaxRuntimeInSeconds": 5400}
    assert result["CheckpointConfig"] == {"S3Uri": "s3://jobs/out/yoga107-1/checkpoints"}
    assert (result["EnableManagedSpotTraining"], result["ProfilerConfig"]) == (False, {"DisableProfiler": True})
    assert "DebugHookConfig" not in result and "ProfilerRuleConfigurations" not in result


def test_a_spot_job_may_wait_and_another_jobs_checkpoints_are_gone_on_from() -> None:
    result = request(spot=True, hours=2, isolated=True, channels={}, checkpoints="s3://jobs/out/first/checkpoints")
    hold("CreateTrainingJob", result)
    assert result["EnableManagedSpotTraining"] and result["EnableNetworkIsolation"]
    assert result["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400}
    assert result["CheckpointConfig"] == {"S3Uri": "s3://jobs/out/first/checkpoints"}
    assert "InputDataConfig" not in result


def test_profiler_and_debugger_bring_their_rules() -> None:
    result = request(profiler=True, debugger=True)
    hold("CreateTrainingJob", result)
    assert result["ProfilerConfig"]["S3OutputPath"] == "s3://jobs/out/yoga107-1/profiler"
    assert result["DebugHookConfig"]["S3OutputPath"] == "s3://jobs/out/yoga107-1/debugger"
    for key, names in (
        ("ProfilerRuleConfigurations", builtin_rules.PROFILER),
        ("DebugRuleConfigurations", builtin_rules.DEBUGGER),
    ):
        assert [rule["RuleParameters"]["rule_to_invoke"] for rule in result[key]] == list(names)
        assert {rule["RuleEvaluatorImage"] for rule in result[key]} == {
            "482524230118.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-debugger-rules:latest"
        }


def test_the_rules_image_is_the_regions() -> None:
    assert builtin_rules.image("us-east-1").startswith("503895931360.dkr.ecr.us-east-1.amazonaws.com/")
    assert builtin_rules.image("cn-north-1").startswith("618459771430.dkr.ecr.cn-north-1.amazonaws.com.cn/")
    with pytest.raises(CloudError, match="no built-in rules in mars-1"):
        builtin_rules.image("mars-1")


def test_the_stubber_and_the_stand_in_take_the_request(client: Any) -> None:
    result = request(profiler=True, debugger=True, spot=True)
    with Stubber(client) as stub:
        arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/yoga107-1"
        stub.add_response("create_training_job", {"TrainingJobArn": arn}, result)
        client.create_training_job(**result)
        stub.assert_no_pending_responses()
    client.create_training_job(**result)
    found = client.describe_training_job(TrainingJobName="yoga107-1")
    assert found["HyperParameters"] == VALUES
    assert found["EnableManagedSpotTraining"]
    assert found["CheckpointConfig"]["S3Uri"] == "s3://jobs/out/yoga107-1/checkpoints"


@pytest.mark.parametrize(
    ("line", "metric", "value"),
    [
        ("head             0.6 s  kept epoch 6: val_accuracy=0.8620", "val_accuracy", "0.8620"),
        ("epoch 1/4 loss=0.4213 accuracy=0.9000 val_loss=0.5 val_accuracy=0.8", "loss", "0.4213"),
        ("epoch 1/4 loss=0.4213 accuracy=0.9000 val_loss=0.5 val_accuracy=0.8", "accuracy", "0.9000"),
        ("epoch 1/4 loss=0.4213 accuracy=0.9000 val_loss=0.5 val_accuracy=0.8", "val_loss", "0.5"),
    ],
)
def test_metrics_are_read_in_the_plain_lines(line: str, metric: str, value: str) -> None:
    assert re.findall(training_requests.METRICS[metric], line) == [value]


def test_no_metric_reads_the_test_split() -> None:
    line = "evaluation 0.0 s test_accuracy=0.3333 (95 % interval 0.138 to 0.609)"
    assert not [metric for metric, expression in training_requests.METRICS.items() if re.search(expression, line)]


def test_changes_to_a_recipe_become_hyperparameters() -> None:
    recipe, values = training_requests.hyperparameters(
        "yoga107", ["--head.epochs", "40", "--head.inner=[100, 50]", "--seed=2"]
    )
    assert (recipe.head.epochs, recipe.head.inner, recipe.seed) == (40, (100, 50), 2)
    assert values == {"recipe": "yoga107", "head.epochs": "40", "head.inner": "[100, 50]", "seed": "2"}


@pytest.mark.parametrize(
    ("name", "argv", "error", "message"),
    [
        ("yoga107", ["--head.epoch", "4"], RecipeError, "--head.epoch"),
        ("yoga107", ["--head.epochs", "0"], RecipeError, "head.epochs"),
        ("nothing", [], RecipeError, "there is no recipe 'nothing'"),
        ("mine.toml", [], CloudError, "the image holds the recipes of recipes/"),
        ("yoga107", ["--source.kind", "rendered"], CloudError, "--data s3://BUCKET/KEY"),
    ],
)
def test_what_a_job_could_not_do_is_told_before_it_is_paid_for(
    name: str, argv: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        training_requests.hyperparameters(name, argv)


def test_jobs_of_the_same_second_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_clock(monkeypatch, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    names = {training_requests.name("cifar100-mobilenet", "12", longest=32) for _ in range(500)}
    assert len(names) == 500
    assert all(re.fullmatch("cifar100-12-260102030405-[a-z0-9]{6}", name) for name in names)


@settings(max_examples=50)
@given(
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,80}", fullmatch=True),
    st.lists(st.from_regex(r"[0-9]{1,2}", fullmatch=True), max_size=1),
)
def test_names_fit_sagemaker(first: str, others: list[str]) -> None:
    for longest in (32, 63):
        name = training_requests.name(first, *others, longest=longest)
        assert len(name) <= longest
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name), name

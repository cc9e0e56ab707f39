"""`deploy/sagemaker/launch.py` at its command line, with a stand-in for AWS behind it."""

import json
import runpy
import sys
from typing import Any

import pytest

from headstand.scale.sagemaker import job_results, subcommands
from headstand.scale.sagemaker.account import CloudError
from tests import commands
from tests.scale.sagemaker import jobs
from tests.scale.sagemaker.opt import ROOT

JOB = ("--role", jobs.ROLE, "--image", jobs.IMAGE, "--output", "s3://jobs/out", "--data", "s3://photos/yoga107")
ENDPOINT = ("--role", jobs.ROLE, "--image", jobs.IMAGE)


@pytest.fixture
def client(client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of the commands too: creating one reads several megabytes of descriptions."""
    monkeypatch.setattr(subcommands.account, "client", lambda: client)
    return client


def requests(text: str) -> list[dict[str, Any]]:
    """The JSON objects that were printed one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_a_training_job_is_submitted(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    subcommands.run(["train", "yoga107", *JOB, "--spot", "--profiler", "--head.epochs", "40", "--wait"])
    message = capsys.readouterr().out
    (name,) = [one["TrainingJobName"] for one in client.list_training_jobs()["TrainingJobSummaries"]]
    assert f"training job  {name}\n" in message and f"--job {name} " in message
    assert f"model         s3://jobs/out/{name}/output/model.tar.gz" in message
    result = client.describe_training_job(TrainingJobName=name)
    assert result["HyperParameters"] == {"recipe": "yoga107", "head.epochs": "40"}
    assert result["EnableManagedSpotTraining"]
    capsys.readouterr()
    subcommands.run(["train", "yoga107", *JOB, "--resume", name, "--validation", "s3://photos/v/"])
    (other,) = {one["TrainingJobName"] for one in client.list_training_jobs()["TrainingJobSummaries"]} - {name}
    again = client.describe_training_job(TrainingJobName=other)
    assert again["CheckpointConfig"] == result["CheckpointConfig"]
    assert [one["ChannelName"] for one in again["InputDataConfig"]] == ["training", "validation"]


def test_a_job_without_checkpoints_cannot_be_resumed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "describe_training_job", lambda **_: {"TrainingJobName": "trial"})
    with pytest.raises(CloudError, match="the job trial has no checkpoints: start a new one without --resume"):
        subcommands.run(["train", "yoga107", *JOB, "--resume", "trial"])


def test_the_recipes_searches_are_submitted_in_turn_each_warm_started_as_it_says(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    followed: list[str] = []
    monkeypatch.setattr(job_results, "tuning", lambda client, name, tell: followed.append(name))
    subcommands.run(["tune", "yoga107", *JOB, "--parallel", "3"])
    found = [client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name) for name in followed]
    assert [name.rsplit("-", 2)[0] for name in followed] == [f"yoga107-{step}" for step in range(1, 6)]
    parents = [
        [each["HyperParameterTuningJobName"] for each in one["WarmStartConfig"]["ParentHyperParameterTuningJobs"]]
        if "WarmStartConfig" in one
        else []
        for one in found
    ]
    assert parents == [[], [followed[0]], [], [followed[2]], []]
    assert capsys.readouterr().out.count("tuning job ") == 5


def test_jobs_that_a_tuning_job_cannot_learn_from_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"earlier-{number}" for number in range(1, 6)]
    subcommands.run(["tune", "yoga107", *JOB, "--dry-run", "--warm-start", *given])
    printed = capsys.readouterr()
    result = requests(printed.out)
    parents = [
        [each["HyperParameterTuningJobName"] for each in one["WarmStartConfig"]["ParentHyperParameterTuningJobs"]]
        for one in result[:2]
    ]
    assert parents == [given, [*given[1:], result[0]["HyperParameterTuningJobName"]]]
    assert printed.err.startswith("tuning job 2 does not use the results of earlier-1: SageMaker takes")
    assert printed.err.count("\n") == 1


def test_one_search_alone_is_submitted_and_not_waited_for(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(job_results, "tuning")
    cache = ("--cache", "s3://jobs/cache/")
    subcommands.run(["tune", "yoga107", *JOB, *cache, "--step", "2", "--warm-start", "first", "other"])
    (job,) = client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    found = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job["HyperParameterTuningJobName"])
    assert found["TrainingJobDefinition"]["Environment"] == {"HEADSTAND_CACHE": "s3://jobs/cache"}
    parents = found["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    assert [each["HyperParameterTuningJobName"] for each in parents] == ["first", "other"]


def test_an_endpoint_is_made_from_a_job_and_removed(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    subcommands.run(["train", "yoga107", *JOB])
    (name,) = [one["TrainingJobName"] for one in client.list_training_jobs()["TrainingJobSummaries"]]
    subcommands.run(["deploy", "poses", *ENDPOINT, "--job", name, "--serverless", "2048"])
    assert f"being created with s3://jobs/out/{name}/output/model.tar.gz" in capsys.readouterr().out
    config = client.describe_endpoint(EndpointName="poses")["EndpointConfigName"]
    (variant,) = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    assert variant["ServerlessConfig"]["MemorySizeInMB"] == 2048
    subcommands.run(["remove", "poses"])
    assert capsys.readouterr().out.splitlines() == [
        "removed endpoint poses",
        f"removed configuration {config}",
        f"removed model {config}",
    ]
    assert client.list_endpoints()["Endpoints"] == []


def test_a_dry_run_prints_the_requests_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subcommands.account, "client", lambda: pytest.fail("it asked"))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    subcommands.run(["train", "yoga107", *JOB, "--dry-run", "--profiler"])
    (result,) = requests(capsys.readouterr().out)
    assert result["ProfilerRuleConfigurations"][0]["RuleEvaluatorImage"].startswith("929884845733.dkr.ecr.eu-west-1.")
    subcommands.run(["tune", "yoga107", *JOB, "--dry-run"])
    assert len(requests(capsys.readouterr().out)) == 5
    subcommands.run(["deploy", "poses", *ENDPOINT, "--model", "s3://a/model.tar.gz", "--dry-run"])
    assert [next(iter(one)) for one in requests(capsys.readouterr().out)] == [
        "ModelName",
        "EndpointConfigName",
        "EndpointName",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "yoga107", *JOB[:-1], "photos"], "argument --data: 'photos' should read s3://BUCKET/KEY"),
        (["tune", "yoga107", *JOB, "--step", "6"], "--step 6: the recipe's search has 5 jobs"),
        (["tune", "yoga107", *JOB, "--step", "2"], "--warm-start TUNINGJOB"),
        (["tune", "yoga107", *JOB, "--step", "2", "--warm-start", *"abcdef"], "6 parents; a tuning job learns from 5"),
        (["deploy", "a", *ENDPOINT, "--job", "b", "--dry-run"], "use --model with --dry-run"),
        (["deploy", "a", *ENDPOINT, "--model", "s3://a/b", "--head.epochs", "3"], "deploy does not take --head.epochs"),
        (["train", "yoga107", *JOB, "--resume", "a", "--dry-run"], "leave --dry-run out"),
    ],
)
def test_bad_words_are_told(client: Any, argv: list[str], message: str) -> None:
    with pytest.raises(CloudError) as raised:
        subcommands.run(argv)
    assert message in str(raised.value)


@pytest.mark.parametrize("argv", [(), ("train",), ("deploy", "a", *ENDPOINT)])
def test_what_is_missing_is_told_with_the_usage(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    # argparse raises the error from Python 3.13 on, and prints it with the usage before.
    with pytest.raises((SystemExit, CloudError)) as raised:
        subcommands.run(argv)
    assert "required" in f"{capsys.readouterr().err}{raised.value}"


def test_the_script_fails_in_one_line_and_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    main = runpy.run_path(str(ROOT / "deploy" / "sagemaker" / "launch.py"))["main"]
    assert commands.status(monkeypatch, main, "launch.py", "train", "nothing", *JOB) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: there is no recipe 'nothing'") and error.count("\n") == 1
    assert commands.status(monkeypatch, main, "launch.py", "--help") == 0
    assert "launch.py tune yoga107" in capsys.readouterr().out

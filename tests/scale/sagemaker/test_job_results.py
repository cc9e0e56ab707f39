from typing import Any

import pytest
from botocore.stub import Stubber

from headstand.scale.sagemaker import job_results
from headstand.scale.sagemaker.account import CloudError
from tests.scale.sagemaker import jobs


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_results, "PAUSE", 0)


def test_a_training_job_is_followed_to_its_model(client: Any) -> None:
    message: list[str] = []
    metrics = [{"MetricName": "val_accuracy", "Value": 0.862, "Timestamp": jobs.MOMENT}]
    with Stubber(client) as stub:
        for second in ("Downloading", "Training", "Training"):
            stub.add_response("describe_training_job", jobs.training("InProgress", SecondaryStatus=second))
        stub.add_response("describe_training_job", jobs.training(FinalMetricDataList=metrics))
        assert job_results.training(client, "job", message.append) == "s3://jobs/out/job/output/model.tar.gz"
    assert message == [
        "the job job: InProgress Downloading",
        "the job job: InProgress Training",
        "the job job: Completed Completed",
        "val_accuracy 0.8620",
    ]


def test_a_failure_is_told_with_its_reason(client: Any) -> None:
    with Stubber(client) as stub:
        reason = "AlgorithmError: there is no recipe 'x', exit code: 1"
        stub.add_response("describe_training_job", jobs.training("Failed", FailureReason=reason))
        with pytest.raises(CloudError, match="the training job job is Failed: AlgorithmError: there is no recipe 'x'"):
            job_results.training(client, "job", lambda line: None)
        stub.add_response("describe_hyper_parameter_tuning_job", jobs.tuning("Failed", FailureReason="no quota"))
        with pytest.raises(CloudError, match="the tuning job tuning failed: no quota"):
            job_results.tuning(client, "tuning", lambda line: None)


def test_a_tuning_job_ends_with_a_table_of_all_trials(client: Any) -> None:
    message: list[str] = []
    with Stubber(client) as stub:
        stub.add_response("describe_hyper_parameter_tuning_job", jobs.tuning("InProgress"))
        stub.add_response("describe_hyper_parameter_tuning_job", jobs.tuning())
        wanted = {
            "HyperParameterTuningJobName": "tuning",
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Descending",
        }
        first = [jobs.trial("t-2", 0.862, learning_rate="0.012", batch_size="20")]
        stub.add_response(
            "list_training_jobs_for_hyper_parameter_tuning_job",
            {"TrainingJobSummaries": first, "NextToken": "more"},
            wanted,
        )
        second = [jobs.trial("t-1", 0.5, learning_rate="0.005", batch_size="40"), jobs.trial("t-3", None)]
        stub.add_response(
            "list_training_jobs_for_hyper_parameter_tuning_job",
            {"TrainingJobSummaries": second},
            {**wanted, "NextToken": "more"},
        )
        job_results.tuning(client, "tuning", message.append)
        stub.assert_no_pending_responses()
    assert [line.split() for line in message[2:]] == [
        ["val_accuracy=0.8620", "batch_size=20", "learning_rate=0.012", "t-2"],
        ["val_accuracy=0.5000", "batch_size=40", "learning_rate=0.005", "t-1"],
        ["Failed", "t-3"],
    ]

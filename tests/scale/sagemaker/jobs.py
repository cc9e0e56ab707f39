"""Answers of SageMaker's, as its Stubber wants them whole."""

from datetime import UTC, datetime
from typing import Any

from headstand.scale.sagemaker.training_requests import Setup

ROLE = "arn:aws:iam::123456789012:role/headstand-job"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/headstand-train:1"
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def setup(**changes: Any) -> Setup:
    values = {"role": ROLE, "image": IMAGE, "output": "s3://jobs/out", "channels": {"training": "s3://photos/yoga107"}}
    return Setup(**{**values, **changes})


def training(status: str = "Completed", **more: Any) -> dict[str, Any]:
    """What DescribeTrainingJob answers."""
    return {
        "TrainingJobName": "job",
        "TrainingJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/job",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://jobs/out/job/output/model.tar.gz"},
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 30},
        "StoppingCondition": {},
        "CreationTime": MOMENT,
        **more,
    }


def tuning(status: str = "Completed", **more: Any) -> dict[str, Any]:
    """What DescribeHyperParameterTuningJob answers."""
    return {
        "HyperParameterTuningJobName": "tuning",
        "HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:hyper-parameter-tuning-job/tuning",
        "HyperParameterTuningJobConfig": {"Strategy": "Bayesian", "ResourceLimits": {"MaxParallelTrainingJobs": 1}},
        "HyperParameterTuningJobStatus": status,
        "CreationTime": MOMENT,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
        **more,
    }


def trial(name: str, accuracy: float | None, **values: str) -> dict[str, Any]:
    """One of ListTrainingJobsForHyperParameterTuningJob."""
    message = {"MetricName": "val_accuracy", "Value": accuracy}
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}",
        "CreationTime": MOMENT,
        "TrainingJobStatus": "Failed" if accuracy is None else "Completed",
        "TunedHyperParameters": {f"head.{key}": value for key, value in values.items()},
        **({} if accuracy is None else {"FinalHyperParameterTuningJobObjectiveMetric": message}),
    }

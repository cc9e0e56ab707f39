"""Waits for SageMaker jobs and reports their results."""

import time
from collections.abc import Callable
from typing import Any

from headstand.scale.sagemaker.account import CloudError, translated_errors
from headstand.scale.sagemaker.training_requests import OBJECTIVE

PAUSE = 60.0
"""Seconds between two requests for a job's status."""

_RUNNING = ("InProgress", "Stopping", "Deleting")


def training(client: Any, job: str, report: Callable[[str], None]) -> str:
    """Waits for a training job and returns the S3 address of its model.

    Raises:
        CloudError: the job failed or was stopped; with SageMaker's reason, the first kilobyte of the failure file.
    """
    description = _follow(
        lambda: client.describe_training_job(TrainingJobName=job), "TrainingJobStatus", f"the job {job}", report
    )
    if description["TrainingJobStatus"] != "Completed":
        raise CloudError(
            f"the training job {job} is {description['TrainingJobStatus']}: {description.get('FailureReason', '')}"
        )
    for metric in description.get("FinalMetricDataList", []):
        report(f"{metric['MetricName']} {metric['Value']:.4f}")
    return str(description["ModelArtifacts"]["S3ModelArtifacts"])


def tuning(client: Any, job: str, report: Callable[[str], None]) -> None:
    """Waits for a tuning job and reports all its trials, best first.

    Raises:
        CloudError: the job failed.
    """
    description = _follow(
        lambda: client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job),
        "HyperParameterTuningJobStatus",
        f"the tuning job {job}",
        report,
    )
    if description["HyperParameterTuningJobStatus"] == "Failed":
        raise CloudError(f"the tuning job {job} failed: {description.get('FailureReason', '')}")
    with translated_errors(f"the trials of {job}"):
        pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=job, SortBy="FinalObjectiveMetricValue", SortOrder="Descending"
        )
        trials = [trial for page in pages for trial in page["TrainingJobSummaries"]]
    for line in table(trials):
        report(line)


def table(trials: list[dict[str, Any]]) -> list[str]:
    """Returns one line per trial, in the given order: metric or else status, hyperparameters, name."""
    lines = []
    for trial in trials:
        metric = trial.get("FinalHyperParameterTuningJobObjectiveMetric")
        result = f"{OBJECTIVE}={metric['Value']:.4f}" if metric else trial["TrainingJobStatus"]
        tuned = sorted(trial.get("TunedHyperParameters", {}).items())
        values = " ".join(f"{key.removeprefix('head.')}={value}" for key, value in tuned)
        lines.append(f"  {result:<20} {values}  {trial['TrainingJobName']}")
    return lines


def _follow(
    describe: Callable[[], dict[str, Any]], key: str, what: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Polls a job until it ends, reports each change of its status, and returns its last description."""
    last = ""
    while True:
        with translated_errors(what):
            description = describe()
        state = " ".join(filter(None, (description[key], description.get("SecondaryStatus"))))
        if state != last:
            report(f"{what}: {state}")
            last = state
        if description[key] not in _RUNNING:
            return description
        time.sleep(PAUSE)

"""Writes the output of a finished run for SageMaker: a servable model and the report."""

import json
import shutil
from pathlib import Path

from headstand.export import exporting
from headstand.export.publish import publish
from headstand.runs import REPORT
from headstand.scale.sagemaker.job_folders import JobFolders
from headstand.tracking import lines

MODELS = ("*.h5", "*.tflite", "*.parity.json", ".*")
"""File patterns in a run's folder that are not part of the report."""


def deliver(run: Path, folders: JobFolders) -> None:
    """Converts the run's model, lays it out for an endpoint and copies the report.

    `place.model` then holds NAME.tflite, which `headstand.serve.endpoint` serves, NAME.h5, the certificate and the
    card, like a folder of `models/`. `place.output` holds the run's report, figures and plots.

    Args:
        run: folder of a finished run.
        folders: target folders.

    Raises:
        HeadstandError: the model cannot be converted, or the conversion does not pass.
    """
    report = json.loads((run / REPORT).read_text(encoding="utf-8"))
    checkpoint = run / (report["refitted"] or report["checkpoint"])
    # An earlier attempt may have been interrupted after the conversion.
    if not checkpoint.with_suffix(".tflite").is_file():
        print(exporting.export(checkpoint).summary, flush=True)
    for path in publish(run, folders.model):
        print(f"delivered  {path}")
    shutil.copytree(run, folders.output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*MODELS))
    # A tuning job reads the last metric in the log, and this attempt may not have trained at all.
    score = report["validation"]
    print(f"kept model {lines.words({'val_loss': score['loss'], 'val_accuracy': score['accuracy']})}", flush=True)

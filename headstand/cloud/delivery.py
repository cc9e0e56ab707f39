"""What a finished run leaves for SageMaker to collect: a model that an endpoint serves, and the report."""

import json
import shutil
from pathlib import Path

from headstand.cloud.place import Place
from headstand.export import exporting
from headstand.export.publish import publish
from headstand.learn.run import REPORT
from headstand.learn.tracking import lines

MODELS = ("*.h5", "*.tflite", "*.parity.json", ".*")
"""What of a run's folder is no report."""


def deliver(run: Path, place: Place) -> None:
    """Convert the run's model, lay it out for an endpoint, and copy the report.

    `place.model` then holds NAME.tflite, which `headstand.serve.endpoint` serves, NAME.h5, the certificate and the
    card, as a folder of `models/` does; `place.output` holds the run's report, figures and plots.

    Args:
        run: a finished run's folder.
        place: where to.

    Raises:
        HeadstandError: the model cannot be converted, or the conversion does not pass.
    """
    report = json.loads((run / REPORT).read_text(encoding="utf-8"))
    checkpoint = run / (report["refitted"] or report["checkpoint"])
    # An attempt before this one may have been interrupted after the conversion.
    if not checkpoint.with_suffix(".tflite").is_file():
        print(exporting.export(checkpoint).words, flush=True)
    for path in publish(run, place.model):
        print(f"delivered  {path}")
    shutil.copytree(run, place.output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*MODELS))
    # A tuning job takes the last figure of a log, and this attempt may have trained nothing itself.
    score = report["validation"]
    print(f"kept model {lines.words({'val_loss': score['loss'], 'val_accuracy': score['accuracy']})}", flush=True)

"""AWS Lambda handler: `lambda_function.lambda_handler`, as the Dockerfile names it.

The model is loaded and used once when the function starts, where Lambda gives most CPU, and not with the first event.
"""

import logging
import os
from typing import Any

from headstand.serve import events, logs
from headstand.serve.classifier import Classifier, default_model

if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # elsewhere the log is not ours to arrange
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logs.EndedLine())
    logging.getLogger(logs.REQUESTS).setLevel(logging.INFO)

limits = events.chosen()
classifier = Classifier(default_model(), threads=limits.threads)
classifier.warm()
function = events.Function(classifier, limits)


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Classify the image of `{"url": ...}`, `{"image": base64}` or an HTTP event: `{class: probability}`."""
    return function.answer(event, context)

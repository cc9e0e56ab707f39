"""AWS Lambda handler: `lambda_function.lambda_handler`, as the Dockerfile names it.

The model is loaded when the function starts, where Lambda gives most CPU, and not with the first event.
"""

from typing import Any

from headstand.serve.classifier import Classifier, default_model
from headstand.serve.events import answer

classifier = Classifier(default_model())


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Classify the image of `{"url": ...}` or `{"image": base64}`: `{class: probability}`, highest first."""
    return answer(event, classifier)

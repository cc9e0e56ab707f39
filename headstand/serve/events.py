"""AWS Lambda: one event in, one answer out."""

from typing import Any

from headstand.images import ImageError
from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from headstand.serve.payload import Fetch, PayloadError, image_bytes, told
from headstand.serve.refusal import DownloadError


def answer(event: Any, classifier: Classifier, *, fetch: Fetch = fetch) -> dict[str, Any]:
    """Answer an invocation.

    Args:
        event: `{"url": ...}` or `{"image": base64}`.
        classifier: what answers.
        fetch: downloads a URL for a client.

    Returns:
        `{class: probability}`, highest first; or `{"error": {"code": ..., "message": ...}}` for a client's mistake.
        Our own faults raise, so that Lambda counts them as such.
    """
    try:
        return dict(classifier.predict(image_bytes(event, fetch)).probabilities)
    except (PayloadError, DownloadError, ImageError) as error:
        return told(error)

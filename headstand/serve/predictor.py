"""Prediction for one request: admission to an interpreter, decoding, inference, timing and counting."""

import contextlib
import re
import time
from typing import Any

import numpy as np

from headstand.errors import ClientError
from headstand.serve.capacity import AdmissionControl
from headstand.serve.classifier import Classifier, Prediction
from headstand.serve.content import Source
from headstand.serve.download import TIMEOUT
from headstand.serve.payload import Fetch, PayloadError
from headstand.serve.problem import problem
from headstand.serve.request_context import RequestContext

BATCH_SECONDS = 10.0
"""Seconds after which a batch starts no further image.

A slow batch then ends before its client gives up, and a malicious one does not occupy an interpreter for a minute.
"""

_HOST = re.compile(r"\s*https?://(?:[^/?#\\]*@)?(\[[^]/?#\\]*\]|[^:/?#\\]*)", re.IGNORECASE)
"""Matches scheme, user name, password and host of a URL (RFC 3986, 3.2); group 1 is the host.

A backslash ends the host.
"""


class Predictor:
    """Prediction of single images and batches.

    Args:
        classifier: the loaded model.
        gate: limits interpreters and downloads.
        fetch: downloads a URL for a client; `fetch(url, timeout=seconds)` if the request has a deadline.
    """

    def __init__(self, classifier: Classifier, gate: AdmissionControl, fetch: Fetch) -> None:
        self._classifier, self._admission, self._fetch = classifier, gate, fetch
        self._failed = False

    def works(self) -> bool:
        """Returns whether the model works: no prediction has failed, or it has classified a black image since.

        Not the failed prediction alone decides, because a client may have chosen its image.
        """
        if self._failed:
            kind = self._classifier.bundle.input
            with contextlib.suppress(Exception):  # the failed prediction is in the log
                self._classifier.classify(np.zeros(kind.shape, kind.dtype))
                self._failed = False
        return not self._failed

    def downloader(self, context: RequestContext) -> Fetch:
        """Returns a download function for one request.

        Each download counts against the capacity and is timed. Only the URL's host is recorded for the log, never the
        rest of the URL.
        """

        def fetch(url: str) -> bytes:
            context.hosts.append(_host(url))
            limit = {"timeout": min(TIMEOUT, context.time_left())} if context.time_left else {}
            with self._admission.download, context.stage("download"):
                return self._fetch(url, **limit)

        return fetch

    def predict(self, image: bytes, context: RequestContext) -> Prediction:
        """Waits for an interpreter, then decodes and classifies one image.

        Raises:
            ImageError: the image cannot be decoded, as `headstand.inputs.InputKind.decode`.
        """
        with self._admission.interpreter(context.stage("queue")):
            with context.stage("decode"):
                decoded = self._classifier.bundle.input.decode(image)
            with context.stage("inference"):
                try:
                    prediction = self._classifier.classify(decoded)
                except Exception:
                    self._failed = True
                    raise
        context.confident.append(prediction.confident)
        context.known.append(prediction.known)
        return prediction

    def batch(self, sources: list[Source], context: RequestContext, top: int | None) -> list[dict[str, Any]]:
        """Classifies several images one after the other; an error of one image is reported as its result.

        Args:
            sources: the images.
            context: context of the request.
            top: how many classes to report; None for all.

        Returns:
            For each image `{"probabilities": {class: probability}, "confident": bool, "known": bool}`, without `known`
            if the model does not detect unknown inputs; or `{"error": problem}`.
        """
        results: list[dict[str, Any]] = []
        started = time.monotonic()
        left = context.time_left() if context.time_left else BATCH_SECONDS
        fetch = self.downloader(context)
        for source in sources:
            try:
                if time.monotonic() - started >= min(left, BATCH_SECONDS):
                    raise PayloadError("batch_timeout", "the time limit of the batch is over; send fewer images")
                with context.stage("receive"):
                    image = source(fetch)
                prediction = self.predict(image, context)
            except ClientError as error:
                context.codes.append(error.code)
                results.append({"error": problem(error.code, str(error))})
            else:
                result = {"probabilities": prediction.leading(top), "confident": prediction.confident}
                results.append(result if prediction.known is None else {**result, "known": prediction.known})
        return results


def _host(url: str) -> str:
    """Returns a URL's host for the log, without `urlsplit`, which caches the URLs that it parses."""
    found = _HOST.match(url)
    return found[1].strip("[]").lower()[:255] if found and found[1] else "?"

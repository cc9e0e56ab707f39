"""Prediction for one request: admission to an interpreter, decoding, inference, timing and counting."""

import re
import time
from typing import Any, Protocol

from headstand.images import ImageError
from headstand.serve.capacity import AdmissionControl, OverloadedError
from headstand.serve.classifier import Answer, Classifier
from headstand.serve.content import Source
from headstand.serve.download.refusal import DownloadError
from headstand.serve.payload import Fetch, PayloadError
from headstand.serve.problem import problem
from headstand.serve.request_context import RequestContext

CONFIDENT = "Headstand-Confident"
"""Response header: `false` if the highest probability is below the bundle's threshold, else `true`."""

BATCH_SECONDS = 10.0
"""Seconds after which a batch starts no further image.

A slow batch then ends before its client gives up, and a malicious one does not occupy an interpreter for a minute.
"""

_HOST = re.compile(r"\s*https?://(?:[^/?#\\]*@)?(\[[^]/?#\\]*\]|[^:/?#\\]*)", re.IGNORECASE)
"""Matches scheme, user name, password and host of a URL (RFC 3986, 3.2); group 1 is the host.

A backslash ends the host.
"""


class Counts(Protocol):
    """Interface for counting images: the metrics of the HTTP service, or the log line of a Lambda function."""

    def answer(self, confident: bool) -> None:
        """Counts an image that was classified."""

    def error(self, code: str) -> None:
        """Counts an image of a batch that could not be classified."""


class Predictor:
    """Prediction of single images and batches, shared by the HTTP service and the Lambda function."""

    def __init__(self, classifier: Classifier, gate: AdmissionControl, counts: Counts, fetch: Fetch) -> None:
        self._classifier, self._gate, self._counts, self._fetch = classifier, gate, counts, fetch

    def downloader(self, exchange: RequestContext) -> Fetch:
        """Returns a download function for one request.

        Each download counts against the capacity and is timed. Only the URL's host is recorded for the log, never the
        rest of the URL.
        """

        def fetch(url: str) -> bytes:
            exchange.hosts.append(_host(url))
            with self._gate.download(), exchange.stage("download"):
                return self._fetch(url)

        return fetch

    def answer(self, image: bytes, exchange: RequestContext) -> Answer:
        """Waits for an interpreter, then decodes and classifies one image.

        Raises:
            ImageError: the image cannot be decoded, as `headstand.inputs.InputKind.decode`.
        """
        with self._gate.turn(exchange.stage("queue")):
            with exchange.stage("decode"):
                decoded = self._classifier.bundle.input.decode(image)
            with exchange.stage("inference"):
                answer = self._classifier.answer(decoded)
        self._counts.answer(answer.confident)
        return answer

    def batch(
        self, sources: list[Source], exchange: RequestContext, top: int | None, seconds: float | None = None
    ) -> list[dict[str, Any]]:
        """Classifies several images one after the other; an error of one image is reported as its result.

        Args:
            sources: the images.
            exchange: context of the request.
            top: how many classes to report; None for all.
            seconds: time after which no further image is started; by default `BATCH_SECONDS`.

        Returns:
            For each image `{"probabilities": {class: probability}, "confident": bool}`, or `{"error": problem}`.
        """
        results: list[dict[str, Any]] = []
        started = time.monotonic()
        fetch = self.downloader(exchange)
        for source in sources:
            try:
                if time.monotonic() - started >= (BATCH_SECONDS if seconds is None else seconds):
                    raise PayloadError("batch_timeout", "the batch's time is over; send fewer images at once")
                with exchange.stage("receive"):
                    image = source(fetch)
                answer = self.answer(image, exchange)
            except (PayloadError, DownloadError, ImageError, OverloadedError) as error:
                self._counts.error(error.code)
                results.append({"error": problem(error.code, str(error))})
            else:
                results.append({"probabilities": answer.leading(top), "confident": answer.confident})
        return results


def _host(url: str) -> str:
    """Returns a URL's host for the log, without `urlsplit`, which caches the URLs that it parses."""
    found = _HOST.match(url)
    return found[1].strip("[]").lower()[:255] if found and found[1] else "?"

"""From encoded images to answers for one request: in turn with the others, timed and counted."""

import re
import time
from typing import Any, Protocol

from headstand.images import ImageError
from headstand.serve.capacity import Gate, OverloadedError
from headstand.serve.classifier import Answer, Classifier
from headstand.serve.content import Source
from headstand.serve.exchange import Exchange
from headstand.serve.payload import Fetch, PayloadError
from headstand.serve.problem import problem
from headstand.serve.refusal import DownloadError

BATCH_SECONDS = 10.0
"""Seconds after which a batch starts no further image: a slow one ends before its client gives up, and a hostile
one does not hold an interpreter for a minute."""

_HOST = re.compile(r"\s*https?://(?:[^/?#\\]*@)?(\[[^]/?#\\]*\]|[^:/?#\\]*)", re.IGNORECASE)
"""The scheme, the user name and password, and the host of a URL (RFC 3986, 3.2); a backslash ends the host."""


class Counts(Protocol):
    """What is told of each image: the service's metrics, or a function's line in the log."""

    def answer(self, confident: bool) -> None:
        """An image was classified."""

    def error(self, code: str) -> None:
        """An image of a batch was not."""


class Predictor:
    """What both kinds of prediction share."""

    def __init__(self, classifier: Classifier, gate: Gate, counts: Counts, fetch: Fetch) -> None:
        self._classifier, self._gate, self._counts, self._fetch = classifier, gate, counts, fetch

    def downloader(self, exchange: Exchange) -> Fetch:
        """What fetches for a request: counted against the capacity, timed, its host noted, never the rest of a URL."""

        def fetch(url: str) -> bytes:
            exchange.hosts.append(_host(url))
            with self._gate.download(), exchange.stage("download"):
                return self._fetch(url)

        return fetch

    def answer(self, image: bytes, exchange: Exchange) -> Answer:
        """Classify one image.

        Raises:
            ImageError: it cannot be decoded, as `headstand.inputs.Input.decode`.
        """
        with self._gate.turn(exchange.stage("queue")):
            with exchange.stage("decode"):
                decoded = self._classifier.bundle.input.decode(image)
            with exchange.stage("inference"):
                answer = self._classifier.answer(decoded)
        self._counts.answer(answer.confident)
        return answer

    def batch(
        self, sources: list[Source], exchange: Exchange, top: int | None, seconds: float | None = None
    ) -> list[dict[str, Any]]:
        """Classify several images one after the other; what is wrong with one of them is its own result.

        Args:
            sources: the images.
            exchange: the request that they came with.
            top: how many classes to tell; None for all.
            seconds: after which no further image is started; by default `BATCH_SECONDS`.

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
    """Return a URL's host for the log; not by `urlsplit`, which caches the URLs that it parsed."""
    found = _HOST.match(url)
    return found[1].strip("[]").lower()[:255] if found and found[1] else "?"

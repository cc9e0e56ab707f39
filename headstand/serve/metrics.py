"""What Prometheus is told. Right under several workers too: each writes its counts into files that all can read."""

import os
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from headstand.serve.bundle import Bundle
from headstand.serve.problem import KINDS

# Each counter would have a second series beside it, with the time when it was made.
disable_created_metrics()

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STAGES = ("receive", "download", "queue", "decode", "inference")
"""What a prediction takes time for: `receive` is reading the body, `queue` the wait for a free interpreter. The rest is
the service's own."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histograms' buckets: a small model takes milliseconds, a download up to ten seconds."""


class Metrics:
    """The counters of one application.

    Where `PROMETHEUS_MULTIPROC_DIR` was set before this module was loaded (gunicorn.conf.py does it), `render` tells
    the sums of all processes that write there, those that ended among them.
    """

    def __init__(self, bundle: Bundle, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "headstand_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._errors = Counter("headstand_errors", "Errors told to clients, by code.", ["code"], registry=registry)
        self._seconds = Histogram(
            "headstand_request_seconds",
            "Time from a request's headers to its answer.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        stages = Histogram("headstand_stage_seconds", "Time by stage.", ["stage"], registry=registry, buckets=_SECONDS)
        received = Counter("headstand_received_bytes", "Bytes of request bodies.", registry=registry)
        sent = Counter("headstand_sent_bytes", "Bytes of answers' bodies.", registry=registry)
        answers = Counter("headstand_answers", "Images classified.", ["confident"], registry=registry)
        in_flight = Gauge(
            "headstand_in_flight", "Predictions being worked on.", registry=registry, multiprocess_mode="livesum"
        )
        model = Gauge(
            "headstand_model_info", "The served model; always 1.", ["name", "digest", "version"],
            registry=registry, multiprocess_mode="max",
        )  # fmt: skip
        model.labels(bundle.name, str(bundle.metadata["digest"]), version).set(1)
        # Looked up once: a lookup by labels costs more than the counting. And a counter that was never raised should
        # read 0 rather than be missing.
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._answers = {True: answers.labels("true"), False: answers.labels("false")}
        self._codes = {code: self._errors.labels(code) for code in KINDS}
        self._received, self._sent, self.in_flight = received, sent, in_flight
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered; method and route must come from small sets, not from the client."""
        key = (method, route, status)
        if key not in self._known:
            self._known[key] = (self._requests.labels(method, route, str(status)), self._seconds.labels(route))
        counter, histogram = self._known[key]
        counter.inc()
        histogram.observe(seconds)
        self._received.inc(received)
        self._sent.inc(sent)

    def error(self, code: str) -> None:
        """Count an error that a client was told."""
        (self._codes.get(code) or self._errors.labels(code)).inc()

    def answer(self, confident: bool) -> None:
        """Count an image that was classified."""
        self._answers[confident].inc()

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Count the time that one prediction spent on each stage."""
        for stage, value in seconds.items():
            self._stages[stage].observe(value)

    def render(self) -> bytes:
        """All values in Prometheus' text format."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)

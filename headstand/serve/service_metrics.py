"""Prometheus metrics, summed over all worker processes in shared memory.

prometheus_client's multiprocess mode maps files into memory: a full disk then kills the process (SIGBUS), and a deleted
folder makes requests fail. Anonymous memory has neither problem.
"""

import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headstand.serve.bundle import Bundle
from headstand.serve.problem import KINDS
from headstand.serve.request_context import RequestContext

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STAGES = ("receive", "download", "queue", "decode", "inference")
"""Stages of a prediction: `receive` extracts the image from the body, `queue` waits for a free interpreter."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
"""HTTP methods that are counted separately; any other method is counted as `other`."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram buckets in seconds: a small model takes milliseconds, a download up to ten seconds."""

_STATUSES = tuple(int(status) for status in HTTPStatus)
_CODES = (*KINDS, "other")
_ROUTES = 32
"""Maximum number of routes of an application, including `other`."""

_ROWS = 128
"""Number of rows, one per worker; a worker's row is the number that gunicorn gave it, modulo this."""

# Indexes of columns: the start of each group of values in a row.
_USED, _IN_FLIGHT, _RECEIVED, _SENT, _NOT_CONFIDENT, _CONFIDENT = range(6)
_ERROR = _CONFIDENT + 1
_HISTOGRAM = len(_SECONDS) + 2
"""Number of values of a histogram: one for each bucket, one for larger values, and the sum."""
_STAGE = _ERROR + len(_CODES)
_ROUTE_SECONDS = _STAGE + len(STAGES) * _HISTOGRAM
_REQUEST = _ROUTE_SECONDS + _ROUTES * _HISTOGRAM
_COLUMNS = _REQUEST + _ROUTES * len(METHODS) * len(_STATUSES)


class Table:
    """Shared-memory table of float64 values, one row per process; create it before the processes are forked."""

    def __init__(self) -> None:
        memory = mmap.mmap(-1, 8 * _ROWS * _COLUMNS)
        self._values = np.frombuffer(memory, np.float64).reshape(_ROWS, _COLUMNS)
        self._lock = threading.Lock()
        self.use_row(0)

    def use_row(self, process: int) -> None:
        """Makes `add` change the row of this process from now on.

        Args:
            process: number of the worker.
        """
        self._row = self._values[process % _ROWS].data
        self._row[_USED] = 1.0

    def end_row(self, process: int) -> None:
        """Sets the predictions in flight of an ended process to 0; its counts stay."""
        self._values[process % _ROWS, _IN_FLIGHT] = 0.0

    def add(self, *columns: tuple[int, float]) -> None:
        """Adds amounts to columns of this process's row.

        Args:
            columns: pairs of a column index and an amount.
        """
        with self._lock:
            for column, amount in columns:
                self._row[column] += amount

    def totals(self) -> np.ndarray:
        """Returns the sums over all processes, `float64 [columns]`."""
        return self._values[self._values[:, _USED] > 0].sum(axis=0)


SHARED: Table | None = None
"""Table shared by all processes of a server, set by gunicorn.conf.py; if None, an application has its own table."""


class Metrics(Collector):
    """Prometheus collector with the counters and histograms of one application.

    Args:
        bundle: the served model.
        version: of this package.
        routes: returns the application's routes, the same in each process; called once, at the first request.
    """

    def __init__(self, bundle: Bundle, version: str, routes: Callable[[], Iterable[str]] = tuple) -> None:
        self._table = SHARED or Table()
        self._model = (bundle.name, str(bundle.metadata["digest"]), version)
        self._list_routes = routes

    @cached_property
    def _routes(self) -> dict[str, int]:
        names = sorted({*self._list_routes(), "other"})[:_ROUTES]
        return {name: index for index, name in enumerate(names)}

    def record(self, context: RequestContext, method: str, route: str, status: int, sent: int) -> None:
        """Counts a request, the time of its stages, its images and its errors.

        Args:
            context: context of the request.
            method: HTTP method; one that is not in `METHODS` is counted as `other`.
            route: one of the application's routes, or `other`.
            status: HTTP status of the response.
            sent: bytes of the response's body.
        """
        index = self._routes.get(route, self._routes.get("other", 0))
        column = METHODS.index(method if method in METHODS else "other")
        cell = (index * len(METHODS) + column) * len(_STATUSES) + _STATUSES.index(status)
        codes = [*context.codes, *([context.code] if context.code else [])]
        self._table.add(
            (_REQUEST + cell, 1.0),
            (_RECEIVED, float(context.received)),
            (_SENT, float(sent)),
            *_observed(_ROUTE_SECONDS + index * _HISTOGRAM, context.elapsed),
            *((_CONFIDENT if confident else _NOT_CONFIDENT, 1.0) for confident in context.confident),
            *((_ERROR + _CODES.index(code if code in KINDS else "other"), 1.0) for code in codes),
        )
        for stage, value in context.seconds.items():
            self._table.add(*_observed(_STAGE + STAGES.index(stage) * _HISTOGRAM, value))

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Counts a prediction as in flight until the context ends."""
        self._table.add((_IN_FLIGHT, 1.0))
        try:
            yield
        finally:
            self._table.add((_IN_FLIGHT, -1.0))

    def render(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics as objects of prometheus_client."""
        totals = self._table.totals()
        requests = CounterMetricFamily("headstand_requests", "Requests.", labels=["method", "route", "status"])
        shape = (_ROUTES, len(METHODS), len(_STATUSES))
        cells = totals[_REQUEST:].reshape(shape)
        routes = list(self._routes)
        for route, method, status in np.argwhere(cells > 0):
            labels = [METHODS[method], routes[route], str(_STATUSES[status])]
            requests.add_metric(labels, float(cells[route, method, status]))
        yield requests
        errors = CounterMetricFamily("headstand_errors", "Errors that clients received, by code.", labels=["code"])
        for index, code in enumerate(_CODES):
            errors.add_metric([code], float(totals[_ERROR + index]))
        yield errors
        seconds = HistogramMetricFamily(
            "headstand_request_seconds", "Time from a complete request to its response.", labels=["route"]
        )
        for name, index in self._routes.items():
            if cells[index].any():
                seconds.add_metric([name], *_buckets(totals, _ROUTE_SECONDS + index * _HISTOGRAM))
        yield seconds
        stages = HistogramMetricFamily("headstand_stage_seconds", "Time by stage.", labels=["stage"])
        for index, stage in enumerate(STAGES):
            stages.add_metric([stage], *_buckets(totals, _STAGE + index * _HISTOGRAM))
        yield stages
        for name, text, column in (
            ("headstand_received_bytes", "Bytes of request bodies that were read.", _RECEIVED),
            ("headstand_sent_bytes", "Bytes of response bodies.", _SENT),
        ):
            yield CounterMetricFamily(name, text, value=float(totals[column]))
        predictions = CounterMetricFamily("headstand_answers", "Images classified.", labels=["confident"])
        predictions.add_metric(["true"], float(totals[_CONFIDENT]))
        predictions.add_metric(["false"], float(totals[_NOT_CONFIDENT]))
        yield predictions
        yield GaugeMetricFamily("headstand_in_flight", "Predictions in progress.", value=float(totals[_IN_FLIGHT]))
        model = GaugeMetricFamily(
            "headstand_model_info", "The served model; always 1.", labels=["name", "digest", "version"]
        )
        model.add_metric(list(self._model), 1.0)
        yield model


def _observed(start: int, seconds: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """Returns the pairs of column and amount that add one observation to the histogram that starts at a column."""
    bucket = next((index for index, bound in enumerate(_SECONDS) if seconds <= bound), len(_SECONDS))
    return (start + bucket, 1.0), (start + _HISTOGRAM - 1, seconds)


def _buckets(totals: np.ndarray, start: int) -> tuple[list[tuple[str, float]], float]:
    """Returns cumulative counts by upper bound, and the sum, of the histogram that starts at a column."""
    counts = totals[start : start + len(_SECONDS) + 1].cumsum()
    return list(zip((*map(str, _SECONDS), "+Inf"), map(float, counts), strict=True)), float(
        totals[start + _HISTOGRAM - 1]
    )

import os
import re
from types import SimpleNamespace
from typing import Any

import pytest

from headstand.serve import service_metrics
from headstand.serve.classifier import Classifier
from headstand.serve.problem import KINDS
from headstand.serve.service_metrics import Metrics, Table


def request(seconds: float = 0.002, received: int = 0, **found: Any) -> Any:
    """Returns the context of a request, which took this time, with the codes and classified images in `found`."""
    defaults = {"seconds": {}, "code": None, "codes": [], "confident": []}
    return SimpleNamespace(**{**defaults, "elapsed": seconds, "received": received, **found})


def values(counts: Metrics) -> dict[str, float]:
    lines = [line for line in counts.render().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Table:
    table = Table()
    monkeypatch.setattr(service_metrics, "SHARED", table)
    return table


def test_all_processes_count_and_any_of_them_reports_the_sum(classifier: Classifier, shared: Table) -> None:
    counts = Metrics(classifier.bundle, "1", lambda: ["/predict"])
    for process in (1, 2):
        child = os.fork()
        if not child:
            shared.use_row(process)
            counts.record(request(received=10 * process, confident=[process == 1]), "POST", "/predict", 200, 5)
            shared.add((service_metrics._IN_FLIGHT, 1.0))
            os._exit(0)
        os.waitpid(child, 0)
    found = values(counts)
    assert found['headstand_requests_total{method="POST",route="/predict",status="200"}'] == 2
    assert found["headstand_received_bytes_total"] == 30 and found["headstand_sent_bytes_total"] == 10
    assert found['headstand_answers_total{confident="true"}'] == 1 and found["headstand_in_flight"] == 2
    shared.end_row(1)  # a worker that ended has nothing in flight; what it counted stays
    assert values(counts) == found | {"headstand_in_flight": 1}


def test_a_row_that_is_used_again_keeps_what_it_counted(classifier: Classifier, shared: Table) -> None:
    counts = Metrics(classifier.bundle, "1")
    shared.use_row(1)
    counts.record(request(code="overloaded"), "POST", "/predict", 503, 0)
    shared.use_row(1 + service_metrics._ROWS)
    counts.record(request(codes=["overloaded", "made_up"]), "POST", "/predict", 200, 0)
    assert values(counts)['headstand_errors_total{code="overloaded"}'] == 2
    assert values(counts)['headstand_errors_total{code="other"}'] == 1


def test_applications_without_a_server_count_for_themselves(classifier: Classifier) -> None:
    first, second = Metrics(classifier.bundle, "1"), Metrics(classifier.bundle, "1")
    first.record(request(confident=[True]), "POST", "/predict", 200, 0)
    assert values(second)['headstand_answers_total{confident="true"}'] == 0


def test_every_known_code_is_reported_from_the_start(classifier: Classifier) -> None:
    found = values(Metrics(classifier.bundle, "1"))
    assert {name for name in found if name.startswith("headstand_errors")} == {
        f'headstand_errors_total{{code="{code}"}}' for code in (*KINDS, "other")
    }


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (99.0, "+Inf")])
def test_a_time_is_counted_in_each_bucket_above_it(classifier: Classifier, seconds: float, bucket: str) -> None:
    counts = Metrics(classifier.bundle, "1", lambda: ["/a"])
    counts.record(request(seconds), "GET", "/a", 200, 0)
    lines = re.findall(r'request_seconds_bucket{le="(.+)",route="/a"} (\S+)', counts.render().decode())
    assert next(bound for bound, number in lines if number == "1.0") == bucket
    assert [number for _, number in lines] == sorted(number for _, number in lines)
    assert values(counts)['headstand_request_seconds_sum{route="/a"}'] == seconds

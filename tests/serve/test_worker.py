"""The service as it is deployed: real gunicorn, real signals, clients that misbehave on the wire."""

import base64
import contextlib
import json
import random
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstand.images import MAX_BYTES
from tests import skips, tiny
from tests.serve.service import PATIENCE, ROOT, Service, post, receive, running, until

PHOTO = tiny.photo((200, 100, 0))
IN_FLIGHT = "headstand_in_flight"


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers, as by default."""
    with running(model, tmp_path_factory.mktemp("service") / "run", WEB_CONCURRENCY="2") as started:
        yield started


def test_counts_are_the_sum_of_all_workers(service: Service) -> None:
    line = 'headstand_requests_total{method="POST",route="/predict",status="200"}'
    before = service.metric(line)
    for _ in range(20):
        assert service.ask("POST", "/predict", PHOTO).status == 200
    # Whichever worker is asked.
    assert {service.metric(line) - before for _ in range(8)} == {20.0}
    assert len(list((service.folder / "tmp").glob("headstand-metrics-*/counter_*.db"))) >= 2


def test_each_request_is_one_line_of_json_and_so_is_each_event(service: Service) -> None:
    service.ask("POST", "/predict?key=hush", PHOTO, **{"X-Request-ID": "one-line"})
    until(lambda: any(line.get("request_id") == "one-line" for line in service.lines("out")))
    (line,) = [line for line in service.lines("out") if line.get("request_id") == "one-line"]
    assert (line["status"], line["path"], line["received"]) == (200, "/predict", len(PHOTO))
    assert "hush" not in (service.folder / "out").read_text()
    assert any("Booting worker" in line["message"] for line in service.lines("err"))


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "bad_http"),
        (b"GET /?key=hush" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: hush" + b"x" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 65 + b"\r\n", 431, "headers_too_large"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "bad_http"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n", 400, "bad_request"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "bad_http"),
    ],
)
def test_what_is_no_http_is_a_problem_too(service: Service, sent: bytes, status: int, code: str) -> None:
    with service.connect(sent) as connection:
        head, _, body = receive(connection).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()) and b"application/problem+json" in head
    told = json.loads(body)
    assert (told["status"], told["code"]) == (status, code)
    assert told["request_id"] in head.decode()
    for name in ("out", "err"):
        assert "hush" not in (service.folder / name).read_text()
    assert service.ask("GET", "/healthz").status == 200


def test_a_body_that_stops_early_is_the_clients_mistake(service: Service) -> None:
    with service.connect(post(PHOTO[:50], length=len(PHOTO))) as connection:
        connection.shutdown(socket.SHUT_WR)  # nothing more will come
        assert b"400 BAD REQUEST" in receive(connection)
    assert service.metric(IN_FLIGHT) == 0


def test_idle_connections_take_no_thread(service: Service) -> None:
    idle = [service.connect() for _ in range(200)]
    started = time.monotonic()
    assert service.ask("POST", "/predict", PHOTO).status == 200
    # Two workers with 40 threads or more would hold the first 80 for five seconds each, 200 for over ten.
    assert time.monotonic() - started < 5
    for connection in idle:
        connection.close()


def test_a_client_that_never_hangs_up_holds_nobody_up(service: Service) -> None:
    hanging = [service.connect(b"GET /healthz HTTP/1.0\r\n\r\n") for _ in range(40)]
    started = time.monotonic()
    assert service.ask("POST", "/predict", PHOTO).status == 200
    # gunicorn alone would linger on each for two seconds, one after the other.
    assert time.monotonic() - started < 20
    for connection in hanging:
        connection.close()


def test_a_full_worker_refuses_at_once_and_finishes_what_it_took(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="1", HEADSTAND_IN_FLIGHT="2") as service:
        halves = [service.connect(post(PHOTO[:50], length=len(PHOTO))) for _ in range(2)]
        until(lambda: service.metric(IN_FLIGHT) == 2)
        refused = service.ask("POST", "/predict", PHOTO)
        assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, "overloaded", "1")
        with service.connect() as again:  # on one connection; a refused client's next request is read a moment later
            for _ in range(3):
                again.sendall(post(PHOTO))
                assert b"503 SERVICE UNAVAILABLE" in receive(again)
        for connection in halves:
            connection.sendall(PHOTO[50:])
            assert b"200 OK" in receive(connection)
            connection.close()
        assert service.ask("POST", "/predict", PHOTO).status == 200
        assert service.metric('headstand_errors_total{code="overloaded"}') == 4


def test_connections_go_to_the_worker_that_has_least_to_do(model: Path, tmp_path: Path) -> None:
    config = _configuration(tmp_path / "courteous.py", "COURTESY = 60")
    with running(model, tmp_path / "run", "-c", config, WEB_CONCURRENCY="2") as service:
        halves = []
        for number in range(1, 7):
            halves.append(service.connect(post(PHOTO[:50], length=len(PHOTO))))
            until(lambda number=number: service.metric(IN_FLIGHT) == number)
        assert sorted(_held(worker, halves) for worker in service.workers()) == [3, 3]
        for connection in halves:
            connection.close()


def test_a_stuck_worker_keeps_no_connection_from_the_others(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="2") as service:
        half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
        until(lambda: service.metric(IN_FLIGHT) == 1)
        (idle,) = [worker for worker in service.workers() if not _held(worker, [half])]
        idle.suspend()
        for _ in range(3):
            assert service.ask("POST", "/predict", PHOTO).status == 200
        idle.resume()
        half.sendall(PHOTO[50:])
        assert b"200 OK" in receive(half)
        half.close()


@pytest.mark.slow
def test_large_bodies_are_refused_before_memory_is_short(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="1", HEADSTAND_BODY_MB="30") as service:
        with service.connect(post(b"\0" * 100, length=20 * 2**20)):
            until(lambda: service.metric(IN_FLIGHT) == 1)
            with service.connect(post(b"\0" * 100, length=20 * 2**20)) as second:
                assert b"503 SERVICE UNAVAILABLE" in receive(second)
            assert service.ask("POST", "/predict", PHOTO).status == 200  # a small one finds its place
        until(lambda: service.metric(IN_FLIGHT) == 0)


@pytest.mark.slow
def test_a_request_that_comes_byte_by_byte_is_cut_off(model: Path, tmp_path: Path) -> None:
    config = _configuration(tmp_path / "impatient.py", "RECEIVE_SECONDS = 0.5")
    with running(model, tmp_path / "run", "-c", config, WEB_CONCURRENCY="1") as service:
        with service.connect(b"GET /healthz HTTP/1.1\r\nX-Slow: ") as slow:
            assert receive(slow) == b""  # the headers never came: there is nobody to answer
        with service.connect(post(PHOTO[:50], length=len(PHOTO))) as slow:
            assert b"400 BAD REQUEST" in receive(slow)
        assert service.metric(IN_FLIGHT) == 0
        assert service.ask("POST", "/predict", PHOTO).status == 200


def test_a_service_that_is_told_to_stop_finishes_what_it_took(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="2") as service:
        half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
        until(lambda: service.metric(IN_FLIGHT) == 1)
        service.process.terminate()

        def refused() -> bool:
            try:
                service.connect().close()
            except ConnectionError:
                return True
            return False

        until(refused)
        assert service.process.poll() is None
        half.sendall(PHOTO[50:])
        answer = receive(half)
        half.close()
        assert b"200 OK" in answer and b'"red"' in answer
        assert service.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_requests_that_wait_to_be_accepted_are_answered_before_the_end(model: Path, tmp_path: Path) -> None:
    """The worker is stopped (SIGSTOP) while they come, so that they wait in the system's queue."""
    with running(model, tmp_path / "run", WEB_CONCURRENCY="1") as service:
        (worker,) = service.workers()
        worker.suspend()
        waiting = [service.connect(post(PHOTO)) for _ in range(5)]
        service.process.terminate()
        until(lambda: "Handling signal: term" in (service.folder / "err").read_text())
        worker.send_signal(signal.SIGTERM)
        worker.resume()
        for connection in waiting:
            assert b"200 OK" in receive(connection)
            connection.close()
        assert service.process.wait(PATIENCE) == 0


def test_a_worker_that_dies_is_replaced_and_its_client_hears_of_it(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="2") as service:
        for _ in range(10):
            assert service.ask("POST", "/predict", PHOTO).status == 200
        half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
        until(lambda: service.metric(IN_FLIGHT) == 1)
        before = {worker.pid: worker for worker in service.workers()}
        busy = [worker for worker in before.values() if _held(worker, [half])]
        assert len(busy) == 1
        busy[0].kill()
        with contextlib.suppress(ConnectionError):  # hung up, or reset
            assert receive(half) == b""
        half.close()
        until(lambda: len({worker.pid for worker in service.workers()} - set(before)) == 1)
        for _ in range(10):
            assert service.ask("POST", "/predict", PHOTO).status == 200
        # What the dead one counted is kept, but for what it had in flight.
        assert service.metric('headstand_requests_total{method="POST",route="/predict",status="200"}') == 20
        assert service.metric(IN_FLIGHT) == 0


@pytest.mark.slow
def test_no_request_is_lost_while_workers_are_exchanged(model: Path, tmp_path: Path) -> None:
    """Under steady load every worker is exchanged several times (SIGHUP); each request is answered with 200."""
    with running(model, tmp_path / "run", WEB_CONCURRENCY="2") as service:
        stop = time.monotonic() + 20

        def ask(_: int) -> list[int]:
            found = []
            while time.monotonic() < stop:
                found.append(service.ask("POST", "/predict", PHOTO).status)
            return found

        with ThreadPoolExecutor(4) as pool:
            results = pool.map(ask, range(4))
            for _ in range(4):
                time.sleep(4)
                service.process.send_signal(signal.SIGHUP)
            statuses = [status for found in results for status in found]
        assert len(statuses) > 100 and set(statuses) == {200}


@pytest.mark.slow
@skips.linux
def test_a_flood_of_the_largest_bodies_stays_below_the_ceiling(model: Path, tmp_path: Path) -> None:
    """32 clients with 20 MB each would need 640 MB for the bodies alone, and several times that while they decode."""
    body = b'{"image": "' + base64.b64encode(random.Random(0).randbytes(MAX_BYTES)) + b'"}'
    with running(model, tmp_path / "run", WEB_CONCURRENCY="1") as service:

        def ask(_: int) -> int:
            # Whoever is refused while still sending may see nothing but the end of the connection.
            with contextlib.suppress(ConnectionError):
                return service.ask("POST", "/predict", body, **{"Content-Type": "application/json"}).status
            return 503

        with ThreadPoolExecutor(32) as pool:
            statuses = set(pool.map(ask, range(128)))
        assert statuses <= {415, 503} and 415 in statuses  # random bytes are no image
        (worker,) = service.workers()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.pid}/status").read_text())
        assert peak and int(peak[1]) < 600 * 1024
        assert service.ask("POST", "/predict", PHOTO).status == 200


def _client(connection: object) -> int:
    return connection.getsockname()[1]  # type: ignore[attr-defined, no-any-return]


def _held(worker: object, connections: list[socket.socket]) -> int:
    """How many of the connections are this worker's."""
    return len({_client(each) for each in connections} & {each.raddr.port for each in _open(worker)})


def _open(worker: object) -> list:
    return [item for item in worker.net_connections("tcp") if item.raddr]  # type: ignore[attr-defined]


def _configuration(path: Path, constant: str) -> str:
    """gunicorn's settings as they are, but for a constant of the worker."""
    settings = str(ROOT / "gunicorn.conf.py")
    path.write_text(
        f"exec(compile(open({settings!r}).read(), {settings!r}, 'exec'))\n"
        f"from headstand.serve import worker\nworker.{constant}\n"
    )
    return str(path)

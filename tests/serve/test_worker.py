"""The service as it is deployed: gunicorn, signals, and clients that misbehave at the level of sockets."""

import base64
import contextlib
import json
import random
import re
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from gunicorn.config import Config

from headstand.images import MAX_BYTES
from headstand.serve.content import MAX_BODY
from headstand.serve.framing import Framing
from headstand.serve.worker import PAUSE_SECONDS, ClientConnection, ConnectionState, Worker
from tests import skips, tiny
from tests.serve.hostile import HostileServer
from tests.serve.service import PATIENCE, ROOT, Service, post, receive, running, until

PHOTO = tiny.photo((200, 100, 0))
IN_FLIGHT = "headstand_in_flight"
RECEIVED = "headstand_received_bytes_total"
GUNICORN = ("gunicorn", "predict:app", "--bind", "127.0.0.1:0")
LOOPBACK = ("gunicorn", "tests.serve.loopback:app", "--bind", "127.0.0.1:0")
FORM_HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
LIMITED = ("tests.serve.limited",)
"""Runs a module with fewer file descriptors: their number, then the module and its arguments."""


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers, as by default."""
    with running(model, tmp_path_factory.mktemp("service") / "run", WEB_CONCURRENCY="2") as started:
        yield started


@pytest.fixture(scope="module")
def small(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with low limits of predictions, memory and file descriptors: 124 leave 56 connections."""
    few = {"WEB_CONCURRENCY": "1", "HEADSTAND_IN_FLIGHT": "2", "HEADSTAND_BODY_MB": "1"}
    folder = tmp_path_factory.mktemp("small") / "run"
    with running(model, folder, argv=(*LIMITED, "124", *GUNICORN), **few) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with short time limits."""
    folder = tmp_path_factory.mktemp("impatient")
    settings, config = str(ROOT / "gunicorn.conf.py"), folder / "impatient.py"
    config.write_text(
        f"exec(compile(open({settings!r}).read(), {settings!r}, 'exec'))\n"
        "from headstand.serve import worker\nworker.RECEIVE_SECONDS = worker.SEND_SECONDS = 0.5\n"
    )
    with running(model, folder / "run", "-c", str(config), WEB_CONCURRENCY="1") as started:
        yield started


@pytest.fixture(scope="module")
def loopback(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker that admits one prediction, and may download from this machine."""
    folder = tmp_path_factory.mktemp("loopback") / "run"
    with running(model, folder, argv=LOOPBACK, WEB_CONCURRENCY="1", HEADSTAND_IN_FLIGHT="1") as started:
        yield started


def test_counts_are_the_sum_of_all_workers(service: Service) -> None:
    line = 'headstand_requests_total{method="POST",route="/predict",status="200"}'
    before = service.metric(line)
    for _ in range(20):
        assert service.ask("POST", "/predict", PHOTO).status == 200
    # Whichever worker is asked.
    assert {service.metric(line) - before for _ in range(8)} == {20.0}
    assert list((service.folder / "tmp").iterdir()) == []  # no file, which could be deleted or on a full disk


def test_each_request_and_each_event_is_one_line_of_json(service: Service) -> None:
    service.ask("POST", "/predict?key=hush", PHOTO, **{"X-Request-ID": "one-line"})
    until(lambda: any(line.get("request_id") == "one-line" for line in service.lines("out")))
    (line,) = [line for line in service.lines("out") if line.get("request_id") == "one-line"]
    assert (line["status"], line["path"], line["received"]) == (200, "/predict", len(PHOTO))
    assert "hush" not in (service.folder / "out").read_text()
    assert any("Booting worker" in line["message"] for line in service.lines("err"))


def test_a_fault_of_the_service_is_logged_on_both_streams(loopback: Service) -> None:
    answer = loopback.ask("POST", "/predict", b'{"url": "fault"}', **{"Content-Type": "application/json"})
    assert (answer.status, answer.json["code"]) == (500, "internal_error") and b"inside" not in answer.body
    for name in ("out", "err"):
        until(lambda name=name: any(line.get("status") == 500 for line in loopback.lines(name)))
        (line,) = [line for line in loopback.lines(name) if line.get("status") == 500]
        assert line["level"] == "error" and line["request_id"] == answer.headers["X-Request-ID"]
        assert line["exception"].endswith("RuntimeError: inside")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"image": base64.b64encode(PHOTO).decode()}).encode(), "application/json"),
        (FORM_HEAD + PHOTO + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PHOTO, "image/png"),
        (PHOTO, ""),
    ],
)
def test_each_kind_of_request_is_accepted(service: Service, body: bytes, kind: str) -> None:
    answer = service.ask("POST", "/predict", body, **({"Content-Type": kind} if kind else {}))
    assert answer.status == 200 and answer.headers["Headstand-Confident"] == "true"
    assert list(answer.json) == ["red", "green", "blue"]
    assert answer.json == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)


def test_client_errors_and_the_health_check_have_their_responses(service: Service) -> None:
    for body, kind, status, code in (
        (b'{"url": "http://127.0.0.1/"}', "application/json", 400, "forbidden_address"),
        (b"{", "application/json", 400, "bad_json"),
        (b"text", "image/png", 415, "not_an_image"),
        (PHOTO, "text/html", 415, "unsupported_media_type"),
    ):
        answer = service.ask("POST", "/predict", body, **{"Content-Type": kind})
        assert (answer.status, answer.json["code"]) == (status, code)
    assert service.ask("GET", "/predict").status == 405
    assert service.ask("GET", "/healthz").json == {"status": "ok", "model": "tiny"}


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
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad_http"),
        (b"GET /healthz HTTP/1.1\r\nHost: [\r\n\r\n", 400, "bad_http"),
        (
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
            413,
            "request_entity_too_large",
        ),
    ],
)
def test_malformed_http_is_a_problem(service: Service, sent: bytes, status: int, code: str) -> None:
    with service.connect(sent) as connection:
        head, _, body = receive(connection).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()) and b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] in head.decode()
    for name in ("out", "err"):
        assert "hush" not in (service.folder / name).read_text()
    assert service.ask("GET", "/healthz").status == 200


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1000 + b"\r\n", (400, 431)),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\na: " + b"b" * 100_000 + b"\r\n\r\n", (400, 431)),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 414)),
        (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505)),
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (400, 404)),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (400, 404)),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", (400, 0)),
        (b"\xff\xfe\r\n\r\n", (400, 0)),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", (400,)),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", (400,)),
        (HEAD + b"Content-Length: -1\r\n\r\nabc", (400,)),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc", (400, 413)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", (400, 0)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n", (400, 415, 0)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + bytes(2**20) + b"\r\n") * 30, (400, 413, 0)),
        (HEAD + b"Content-Length: 500\r\n\r\n" + PHOTO[:20], (400, 415, 422, 0)),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", (415,)),
        (b"POST /predict HTTP/1.1\r\n", (400, 0)),
    ],
    ids=range(18),
)  # fmt: skip
def test_malformed_http_is_refused_and_does_not_affect_others(
    service: Service, data: bytes, statuses: tuple[int, ...]
) -> None:
    workers = service.workers()
    answer = b""
    with service.connect() as connection, contextlib.suppress(OSError):  # it may be closed during sending
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            answer += piece
    status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
    # 0 if the service closed the connection before everything was sent: the system then discards the response.
    assert status in (*statuses, 0), answer[:500]
    assert b"Traceback" not in answer and answer.count(b"HTTP/1.1 ") <= 1
    assert service.workers() == workers
    assert service.ask("POST", "/predict", PHOTO).status == 200


def test_a_local_client_cannot_set_script_name(service: Service) -> None:
    answer = service.ask("GET", "/healthz", SCRIPT_NAME="/elsewhere", PATH_INFO="/elsewhere")
    assert (answer.status, answer.json["status"]) == (200, "ok")


def test_an_incomplete_body_is_a_client_error(service: Service) -> None:
    with service.connect(post(PHOTO[:50], length=len(PHOTO))) as connection:
        connection.shutdown(socket.SHUT_WR)  # nothing more will come
        assert b"400 Bad Request" in receive(connection)
    assert service.metric(IN_FLIGHT) == 0


def test_only_bytes_that_were_read_are_counted(service: Service) -> None:
    before = service.metric(RECEIVED)
    for announced in ("9" * 400, "1" + "0" * 300, "9" * 5000):
        for path in ("/predict", "/healthz", "/none"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n"
            with service.connect(head.encode()) as connection:
                assert re.match(rb"HTTP/1.1 (413|400|431) ", receive(connection))
    assert service.metric(RECEIVED) == before
    assert service.ask("POST", "/predict", PHOTO).status == 200
    assert service.metric(RECEIVED) == before + len(PHOTO)
    assert "Traceback" not in (service.folder / "err").read_text()


def test_idle_connections_take_no_thread(service: Service) -> None:
    idle = [service.connect() for _ in range(200)]
    started = time.monotonic()
    assert service.ask("POST", "/predict", PHOTO).status == 200
    assert time.monotonic() - started < 5
    for connection in idle:
        connection.close()


def test_a_client_that_never_closes_delays_no_other(service: Service) -> None:
    hanging = [service.connect(b"GET /healthz HTTP/1.0\r\n\r\n") for _ in range(40)]
    started = time.monotonic()
    assert service.ask("POST", "/predict", PHOTO).status == 200
    # gunicorn's own worker would wait two seconds for each, one after the other.
    assert time.monotonic() - started < 20
    for connection in hanging:
        connection.close()


def test_an_overloaded_worker_refuses_at_once_and_completes_admitted_requests(
    loopback: Service, server: HostileServer
) -> None:
    overloaded = 'headstand_errors_total{code="overloaded"}'
    before = loopback.metric(overloaded)
    waiting = loopback.connect(post(json.dumps({"url": server.url("/held")}).encode()))
    until(lambda: loopback.metric(IN_FLIGHT) == 1)
    refused = loopback.ask("POST", "/predict", PHOTO)
    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, "overloaded", "1")
    with loopback.connect() as again:  # on one connection; a refused client's next request is read a moment later
        started = time.monotonic()
        for _ in range(3):
            again.sendall(post(PHOTO))
            assert b"503 SERVICE UNAVAILABLE" in receive(again)
        assert time.monotonic() - started >= 2 * PAUSE_SECONDS
    server.release.set()
    assert b"200 OK" in receive(waiting)
    waiting.close()
    assert loopback.ask("POST", "/predict", PHOTO).status == 200
    assert loopback.metric(overloaded) == before + 4


@pytest.mark.parametrize("refused", [True, False])
def test_the_pause_after_a_503_also_follows_a_response_sent_in_parts(refused: bool) -> None:
    worker = _worker()
    ours, theirs = socket.socketpair()
    with worker._selector, ours, theirs:
        connection = ClientConnection(ours, "client", "server", Framing(worker.cfg, "client"))
        connection.unsent, connection.keep, connection.refused = memoryview(b"the rest"), True, refused
        worker._finish(connection)
        assert connection.state is ConnectionState.SENDING
        worker._transfer(connection)
        assert theirs.recv(100) == b"the rest"
        assert connection.state is (ConnectionState.PAUSED if refused else ConnectionState.IDLE)
        assert [found for _, found in worker._paused] == [connection] * refused


def test_a_full_worker_closes_a_connection_only_for_one_that_it_accepts() -> None:
    worker = _worker()
    worker.cfg.set("worker_connections", 1)
    with worker._selector, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname())]
        assert worker._accept(listener)
        (idle,) = worker._connections
        assert not worker._accept(listener) and list(worker._connections) == [idle]
        clients.append(socket.create_connection(listener.getsockname()))
        assert worker._accept(listener) and idle not in worker._connections and len(worker._connections) == 1
        for client in (*clients, *(each.sock for each in worker._connections)):
            client.close()


def test_slow_clients_do_not_block_others(small: Service) -> None:
    """More clients than admitted predictions send one byte each, or announce the largest body."""
    slow = [small.connect(post(b"", length=MAX_BODY)) for _ in range(6)]
    slow += [small.connect(b"P") for _ in range(40)]
    until(lambda: small.held(*slow) == [46])
    for _ in range(5):
        assert small.ask("POST", "/predict", PHOTO).status == 200
    for connection in slow:
        connection.close()


def test_a_stuck_worker_does_not_take_connections_from_the_others(service: Service) -> None:
    half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
    until(lambda: sum(service.held(half)) == 1)
    idle = service.workers()[service.held(half).index(0)]
    idle.suspend()
    try:
        for _ in range(3):
            assert service.ask("POST", "/predict", PHOTO).status == 200
    finally:
        idle.resume()
    half.sendall(PHOTO[50:])
    assert b"200 OK" in receive(half)
    half.close()


def test_at_the_memory_limit_the_oldest_incomplete_request_is_refused(small: Service) -> None:
    refused = small.metric('headstand_errors_total{code="overloaded"}')
    first = small.connect(post(bytes(800_000), length=900_000))
    until(lambda: small.held(first) == [1])
    assert small.ask("POST", "/predict", PHOTO).status == 200  # a small one always finds room
    # Connections that earlier tests closed may still be counted for a moment.
    until(lambda: small.ask("POST", "/predict", bytes(700_000)).status == 415)
    answer = receive(first)
    assert b"503 Service Unavailable" in answer and b"Retry-After: 1" in answer and b"overloaded" in answer
    first.close()
    # Alone, it may be larger than the limit; the connections before it may still be counted for a moment.
    until(lambda: small.ask("POST", "/predict", bytes(2_000_000)).status == 415)
    assert small.metric('headstand_errors_total{code="overloaded"}') > refused


def test_at_the_connection_limit_the_longest_idle_connection_is_closed(small: Service) -> None:
    """Clients, more than descriptors, leave a connection idle or send a form that never ends."""
    form = post(b"--x", length=999).replace(b"image/png", b"multipart/form-data; boundary=x")
    idle = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    (worker,) = small.workers()
    assert worker.rlimit(psutil.RLIMIT_NOFILE)[0] == 124
    clients = []
    for number in range(300):
        clients.append(small.connect(form if number % 2 else idle))
    for _ in range(5):
        assert small.ask("POST", "/predict", PHOTO).status == 200
    assert small.workers() == [worker] and worker.num_fds() < 124
    assert sum(small.held(*clients)) <= 56
    for connection in clients:
        connection.close()
    assert "Traceback" not in (small.folder / "err").read_text()


def test_clients_that_never_read_delay_no_other(small: Service) -> None:
    """Each sends many requests at once for a long page; they are more than there are threads."""
    clients = [_mute(small, 400) for _ in range(20)]
    for _ in range(5):
        assert small.ask("POST", "/predict", PHOTO).status == 200
    # What was sent is complete and in order for a client that reads late.
    clients[0].settimeout(PATIENCE)
    page = small.ask("GET", "/docs").body
    data = b""
    while data.count(page) < 3:
        data += clients[0].recv(65536)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    for client in clients:
        client.close()


def test_a_client_that_does_not_read_in_time_is_disconnected(impatient: Service) -> None:
    client = _mute(impatient, 1500)
    until(lambda: impatient.held(client) == [0])
    client.close()


def test_a_client_that_expects_100_continue_gets_it_once(service: Service) -> None:
    head = post(b"", length=len(PHOTO)).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    with service.connect(head) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PHOTO)
        answer = receive(connection)
        assert answer.startswith(b"HTTP/1.1 200 OK") and b"100 Continue" not in answer


def test_responses_to_pipelined_requests_are_in_order(service: Service) -> None:
    with service.connect(post(PHOTO) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + post(PHOTO)[:-9]) as connection:
        data = receive(connection)
        while b'"ok"' not in data:
            data += connection.recv(65536)
        assert data.index(b'"red"') < data.index(b'"ok"')
        connection.sendall(PHOTO[-9:])
        assert b'"red"' in receive(connection)


def test_a_damaged_model_file_and_a_deleted_temporary_folder_change_nothing(model: Path, tmp_path: Path) -> None:
    """With threads in an interpreter each worker loads the model itself: from the bytes that the master has checked."""
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(model.read_bytes())
    with running(copy, tmp_path / "run", WEB_CONCURRENCY="2", HEADSTAND_THREADS="2") as service:
        copy.write_bytes(model.read_bytes()[:1000])
        (service.folder / "tmp").rmdir()
        form = FORM_HEAD + bytes(3_000_000) + b"\r\n--x--\r\n"
        answer = service.ask("POST", "/predict", form, **{"Content-Type": "multipart/form-data; boundary=x"})
        assert (answer.status, answer.json["code"]) == (415, "not_an_image")
        assert service.metric(IN_FLIGHT) == 0
        before = {worker.pid for worker in service.workers()}
        service.workers()[0].kill()
        until(lambda: len({worker.pid for worker in service.workers()} - before) == 1)
        until(lambda: (service.folder / "err").read_bytes().count(b"Worker is ready") == 3)
        for _ in range(5):
            assert service.ask("POST", "/predict", PHOTO).status == 200
        assert service.process.poll() is None
        (service.folder / "tmp").mkdir()


def test_with_a_certificate_it_does_not_start(model: Path, gunicorn_settings: Callable[[], dict[str, Any]]) -> None:
    config = Config()
    config.set("certfile", str(model))
    with pytest.raises(SystemExit, match=r"^error: this service does not support TLS"):
        gunicorn_settings()["on_starting"](SimpleNamespace(cfg=config))


def test_a_request_that_arrives_byte_by_byte_is_aborted(impatient: Service) -> None:
    with impatient.connect(b"GET /healthz HTTP/1.1\r\nX-Slow: ") as slow:
        assert receive(slow) == b""  # the headers never arrived, so there is no response
    with impatient.connect(post(PHOTO[:50], length=len(PHOTO))) as slow:
        assert b"400 Bad Request" in receive(slow)
    assert impatient.metric(IN_FLIGHT) == 0
    assert impatient.ask("POST", "/predict", PHOTO).status == 200


def test_a_stopping_service_completes_accepted_requests_and_is_not_ready(model: Path, tmp_path: Path) -> None:
    with running(model, tmp_path / "run", WEB_CONCURRENCY="2") as service:
        half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
        check = service.connect(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        until(lambda: sum(service.held(half, check)) == 2)
        service.process.terminate()
        with pytest.raises(ConnectionError):
            until(lambda: service.connect().close())
        assert service.process.poll() is None
        check.sendall(b"\r\n")
        answer = receive(check)
        check.close()
        assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1\r\n" in answer and b"not_ready" in answer
        half.sendall(PHOTO[50:])
        answer = receive(half)
        half.close()
        assert b"200 OK" in answer and b'"red"' in answer
        assert service.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_a_stopping_service_accepts_queued_connections(model: Path, tmp_path: Path) -> None:
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


def test_a_worker_that_dies_is_replaced_and_its_client_disconnected(service: Service) -> None:
    answered = 'headstand_requests_total{method="POST",route="/predict",status="200"}'
    count = service.metric(answered)
    for _ in range(10):
        assert service.ask("POST", "/predict", PHOTO).status == 200
    half = service.connect(post(PHOTO[:50], length=len(PHOTO)))
    until(lambda: sum(service.held(half)) == 1)
    ready = (service.folder / "err").read_bytes().count(b"Worker is ready")
    before = {worker.pid: worker for worker in service.workers()}
    service.workers()[service.held(half).index(1)].kill()
    with contextlib.suppress(ConnectionError):  # hung up, or reset
        assert receive(half) == b""
    half.close()
    until(lambda: len({worker.pid for worker in service.workers()} - set(before)) == 1)
    until(lambda: (service.folder / "err").read_bytes().count(b"Worker is ready") == ready + 1)
    for _ in range(10):
        assert service.ask("POST", "/predict", PHOTO).status == 200
    # What the dead one counted is kept, but for what it had in flight.
    assert service.metric(answered) == count + 20
    assert service.metric(IN_FLIGHT) == 0


@pytest.mark.parametrize("threads", ["1", "2"])
def test_sighup_loads_a_changed_bundle_and_refuses_an_invalid_one(threads: str, tmp_path: Path) -> None:
    path = tiny.bundle(tmp_path / "model.tflite")
    with running(path, tmp_path / "run", WEB_CONCURRENCY="1", HEADSTAND_THREADS=threads) as service:

        def reload(data: bytes) -> str:
            """Replaces the file, sends SIGHUP and waits for the new worker; returns the digest that is served."""
            (tmp_path / "new").write_bytes(data)
            (tmp_path / "new").replace(path)
            (before,) = service.workers()
            service.process.send_signal(signal.SIGHUP)
            until(lambda: not before.is_running() and len(service.workers()) == 1)
            assert service.ask("POST", "/predict", PHOTO).status == 200
            return service.ask("GET", "/model").json["digest"]

        original = path.read_bytes()
        digest = service.ask("GET", "/model").json["digest"]
        other = tiny.bundle(tmp_path / "other.tflite", model=tiny.flatbuffer(quantized=True)).read_bytes()
        changed = reload(other)
        assert changed != digest
        assert reload(other[:-200]) == changed
        assert "the one before it is served on" in (service.folder / "err").read_text()
        assert reload(original) == digest


@pytest.mark.slow
def test_no_request_is_lost_while_workers_are_replaced(model: Path, tmp_path: Path) -> None:
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


def _worker() -> Worker:
    """A worker without a process."""
    worker = Worker.__new__(Worker)
    worker.alive, worker.cfg, worker._held_limit, worker._held = True, Config(), 10**6, 0
    worker._selector, worker._connections, worker._paused = DefaultSelector(), {}, deque()
    return worker


def _mute(service: Service, requests: int) -> socket.socket:
    """A client with a small receive buffer that asks for a long page many times and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", service.port))
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
    return client

"""Runs `gunicorn predict:app` with the repository's settings in separate processes, on a free port of this machine."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a waiting test fails; no test depends on a shorter time."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """A running service. `folder` contains `out` and `err`, its output, and `tmp`, its temporary files."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Sends one request over a new connection and returns the response."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def connect(self, data: bytes = b"") -> socket.socket:
        """Opens a connection and sends these bytes."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.sendall(data)
        return connection

    def held(self, *connections: socket.socket) -> list[int]:
        """Returns for each worker how many of these connections it has accepted."""
        ports = {connection.getsockname()[1] for connection in connections}
        opened = [[item for item in worker.net_connections("tcp") if item.raddr] for worker in self.workers()]
        return [len(ports & {item.raddr.port for item in each}) for each in opened]

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def metric(self, line: str) -> float:
        """Returns the value of a metric, 0 if it does not exist."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.ask("GET", "/metrics").body.decode(), re.M)
        return float(found[1]) if found else 0.0

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Returns the JSON lines of `out` or `err`, without LiteRT's start message, which is not JSON."""
        text = (self.folder / name).read_text()
        return [json.loads(line) for line in text.splitlines() if not line.startswith("INFO: ")]


@contextmanager
def running(
    model: Path,
    folder: Path,
    *options: str,
    code: Path = ROOT,
    argv: tuple[str, ...] = ("gunicorn", "predict:app", "--bind", "127.0.0.1:0"),
    **settings: str,
) -> Iterator[Service]:
    """Starts the service and waits until all its workers are ready; stops it at the end and checks for temporary files.

    Args:
        model: the bundle.
        folder: for its output and temporary files.
        options: further arguments of gunicorn.
        code: working directory, by default the checkout.
        argv: the module to run and its arguments.
        settings: environment variables.
    """
    (folder / "tmp").mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HEADSTAND_", "WEB_"))}
    environment |= {"HEADSTAND_MODEL": str(model), "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1", **settings}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv, *options], cwd=code, env=environment, stdout=out, stderr=err
        )
    try:
        workers = int(environment.get("WEB_CONCURRENCY", 1))
        until(lambda: process.poll() is not None or (folder / "err").read_bytes().count(b"Worker is ready") >= workers)
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", (folder / "err").read_text())
        assert found, (folder / "err").read_text()
        service = Service(process, int(found[1]), folder)
        assert service.ask("GET", "/readyz").status == 200
        yield service
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert list((folder / "tmp").iterdir()) == []


def until(condition: Callable[[], Any]) -> None:
    """Waits until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def post(body: bytes, path: str = "/predict", length: int | None = None) -> bytes:
    """Returns the bytes of a request; `length` is the Content-Length if it differs from that of the body."""
    announced = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {announced}\r\n\r\n"
    return head.encode() + body


def receive(connection: socket.socket) -> bytes:
    """Receives until the other side closes the connection, or until a response is complete."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"Content-Length: (\d+)", head)
        if found and len(body) >= int(found[1]):
            break
    return data

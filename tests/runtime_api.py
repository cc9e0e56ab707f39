"""Local implementation of the AWS Lambda Runtime API, with the invocation URL of the Lambda emulator.

`awslambdaric` polls it in the same way as AWS. `POST /2015-03-31/functions/function/invocations` passes an event to it
and returns its response. All requests follow
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html (version 2018-06-01).

python -m tests.runtime_api [BUNDLE.tflite]     serves the function at port 8080 like the container image
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from headstand.serve.classifier import SHIPPED

INVOCATIONS = "/2015-03-31/functions/function/invocations"
RUNTIME = "/2018-06-01/runtime/"


class RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.results: dict[str, queue.Queue[bytes]] = {}
        self.init_error: queue.Queue[bytes] = queue.Queue()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors, because the function's process is killed while it waits for an event."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # header and body are sent together: in separate packets, TCP would delay each response
    server: RuntimeApi

    def do_GET(self) -> None:
        assert self.path == f"{RUNTIME}invocation/next", self.path
        number, event = self.server.events.get()
        self._send(200, event, {
            "Lambda-Runtime-Aws-Request-Id": number,
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:function",
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000",
        })  # fmt: skip

    def do_POST(self) -> None:
        body = self._body()
        if self.path == INVOCATIONS:
            number = str(uuid.uuid4())
            self.server.results[number] = queue.Queue()
            self.server.events.put((number, body))
            self._send(200, self.server.results[number].get(timeout=60))
        elif self.path == f"{RUNTIME}init/error":
            self.server.init_error.put(body)
            self._send(202, b"{}")
        else:
            number, kind = self.path.removeprefix(f"{RUNTIME}invocation/").split("/")
            assert kind in ("response", "error"), self.path
            self.server.results[number].put(body)
            self._send(202, b"{}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Suppresses the request log in the test output."""


@contextmanager
def serving(port: int = 0) -> Iterator[RuntimeApi]:
    """Runs the API server at a port, by default any free one, without a function process."""
    server = RuntimeApi(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def function(
    model: Path, handler: str = "lambda_function.lambda_handler", log: IO[bytes] | None = None, port: int = 0
) -> Iterator[RuntimeApi]:
    """Runs the handler under awslambdaric in a subprocess, with the API server; its output goes to `log`."""
    with serving(port) as server:
        environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": server.address, "HEADSTAND_MODEL": str(model)}
        process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            env=environment,
            stdout=log or subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield server
        finally:
            process.kill()
            process.wait()


def invoke(server: RuntimeApi, event: object) -> object:
    """Posts an event as a client does; returns the response with the order of its keys preserved."""
    import http.client

    connection = http.client.HTTPConnection(server.address, timeout=60)
    try:
        connection.request("POST", INVOCATIONS, json.dumps(event))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def main(argv: list[str]) -> None:
    model = Path(argv[0]) if argv else SHIPPED
    with function(model, log=sys.stdout.buffer, port=8080) as server:
        print(f"{model} answers at http://{server.address}{INVOCATIONS}: python test.py photo.jpg", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from headstand.serve.classifier import Classifier
from headstand.serve.flask_app import create_app
from tests import runtime_api, tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bundle(tmp_path_factory.mktemp("model") / "tiny.tflite")


@pytest.fixture(scope="module")
def photo(model: Path) -> str:
    path = model.with_name("photo.png")
    path.write_bytes(tiny.photo((200, 100, 0)))
    return str(path)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "test.py", *argv], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def responding(status: int, body: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Runs a server that sends the same response to each request; returns its URL and the received bodies."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", received
        finally:
            server.shutdown()
            thread.join()


def test_it_sends_a_photo_to_the_lambda_function(model: Path, photo: str) -> None:
    with runtime_api.function(model) as server:
        endpoint = f"http://{server.address}{runtime_api.INVOCATIONS}"
        found = run(photo, "--endpoint", endpoint)
        assert found.returncode == 0, found.stderr
        probabilities = json.loads(found.stdout)
        assert list(probabilities) == ["red", "green", "blue"]
        assert probabilities == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
        found = run("http://10.0.0.1/x.jpg", "--endpoint", endpoint)
        assert found.returncode == 1 and found.stderr.startswith("error: forbidden_address: ")


def test_it_sends_a_photo_and_a_key_to_the_flask_service(
    model: Path, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTAND_API_KEY", "a-key-of-characters, another-key-of-characters")
    server = make_server("127.0.0.1", 0, create_app(Classifier(model)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        found = run(photo, "--endpoint", f"http://localhost:{server.server_port}/predict")
        monkeypatch.delenv("HEADSTAND_API_KEY")
        refused = run(photo, "--endpoint", f"http://localhost:{server.server_port}/predict")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found.returncode == 0 and list(json.loads(found.stdout)) == ["red", "green", "blue"]
    assert refused.returncode == 1 and refused.stderr.startswith("error: unauthorized: ")


def test_without_an_image_it_sends_the_url_of_a_photo() -> None:
    with responding(200, b'{"tree": 1.0}') as (endpoint, received):
        found = run("--endpoint", endpoint)
    assert found.returncode == 0 and json.loads(found.stdout) == {"tree": 1.0}
    fields = json.loads(received[0])
    assert list(fields) == ["url"] and fields["url"].startswith("https://upload.wikimedia.org/")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b'{"errorMessage": "no such class", "errorType": "KeyError"}', "the function failed: no such class"),
        (413, b'{"code": "too_large", "status": 413, "detail": "too many bytes"}', "too_large: too many bytes"),
        (503, b'{"title": "Busy", "detail": "try again"}', "503: try again"),
        (200, b'{"error": {"code": "too_large", "detail": "too many bytes"}}', "too_large: too many bytes"),
        (400, b'{"error": {"detail": "unknown"}}', "?: unknown"),
        (502, b"<html>Bad gateway</html>", "returned status 502"),
        (200, b"[]", "returned status 200 and no probabilities"),
    ],
)
def test_an_error_response_is_one_line_and_exit_status_1(photo: str, status: int, body: bytes, message: str) -> None:
    with responding(status, body) as (endpoint, _):
        found = run(photo, "--endpoint", endpoint)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith("error: ") and message in found.stderr and found.stderr.count("\n") == 1


def test_a_refused_connection_is_reported(photo: str) -> None:
    found = run(photo, "--endpoint", "http://127.0.0.1:9/")  # the discard port, which has no service today
    assert found.returncode == 1
    assert found.stderr == "error: no response from http://127.0.0.1:9/: start it, or use another --endpoint\n"


def test_invalid_arguments_are_reported(tmp_path: Path) -> None:
    found = run(str(tmp_path / "none.jpg"))
    assert found.returncode == 1 and "none.jpg" in found.stderr and "Traceback" not in found.stderr
    found = run("LICENSE", "--endpoint", "localhost:8080")
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert found.stderr.startswith("error: the request to localhost:8080 failed")

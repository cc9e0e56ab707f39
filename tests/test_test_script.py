"""The script `test.py`, in the test process; tests/cli/test_page.py runs it as a command."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from werkzeug.serving import make_server

import test as script
from headstand.serve.classifier import Classifier
from headstand.serve.flask_app import create_app
from headstand.serve.lambda_handler import LambdaFunction
from tests import commands, runtime_api, tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bundle(tmp_path_factory.mktemp("model") / "tiny.tflite")


@pytest.fixture(scope="module")
def photo(model: Path) -> str:
    path = model.with_name("photo.png")
    path.write_bytes(tiny.photo((200, 100, 0)))
    return str(path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the script with these arguments; returns its exit status, standard output and standard error."""

    def run(*argv: str) -> tuple[int, str, str]:
        status = commands.status(monkeypatch, script.main, "test.py", *argv)
        return status, *capsys.readouterr()

    return run


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


def test_it_sends_a_photo_to_the_lambda_function(run: Run, model: Path, photo: str) -> None:
    function = LambdaFunction(Classifier(model))
    with runtime_api.serving() as server:

        def respond() -> None:
            while True:
                number, event = server.events.get()
                server.results[number].put(json.dumps(function.handle(json.loads(event))).encode())

        threading.Thread(target=respond, daemon=True).start()
        endpoint = f"http://{server.address}{runtime_api.INVOCATIONS}"
        status, out, error = run(photo, "--endpoint", endpoint)
        assert status == 0, error
        probabilities = json.loads(out)
        assert list(probabilities) == ["red", "green", "blue"]
        assert probabilities == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
        status, _, error = run("http://10.0.0.1/x.jpg", "--endpoint", endpoint)
        assert status == 1 and error.startswith("error: forbidden_address: ")


def test_it_sends_a_photo_and_a_key_to_the_flask_service(
    run: Run, model: Path, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTAND_API_KEY", "a-key-of-characters, another-key-of-characters")
    server = make_server("127.0.0.1", 0, create_app(Classifier(model)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        status, out, _ = run(photo, "--endpoint", f"http://localhost:{server.server_port}/predict")
        monkeypatch.delenv("HEADSTAND_API_KEY")
        refused, _, error = run(photo, "--endpoint", f"http://localhost:{server.server_port}/predict")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert status == 0 and list(json.loads(out)) == ["red", "green", "blue"]
    assert refused == 1 and "error: unauthorized: " in error


def test_without_an_image_it_sends_the_url_of_a_photo(run: Run) -> None:
    with responding(200, b'{"tree": 1.0}') as (endpoint, received):
        status, out, _ = run("--endpoint", endpoint)
    assert status == 0 and json.loads(out) == {"tree": 1.0}
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
def test_an_error_response_is_one_line_and_exit_status_1(
    run: Run, photo: str, status: int, body: bytes, message: str
) -> None:
    with responding(status, body) as (endpoint, _):
        found, out, error = run(photo, "--endpoint", endpoint)
    assert (found, out) == (1, "")
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_a_refused_connection_is_reported(run: Run, photo: str) -> None:
    # Port 9 is that of discard, which has no service today.
    assert run(photo, "--endpoint", "http://127.0.0.1:9/") == (
        1, "", "error: no response from http://127.0.0.1:9/: start it, or use another --endpoint\n",
    )  # fmt: skip


def test_invalid_arguments_are_reported(run: Run, photo: str, tmp_path: Path) -> None:
    status, _, error = run(str(tmp_path / "none.jpg"))
    assert status == 1 and "none.jpg" in error and error.count("\n") == 1
    status, _, error = run(photo, "--endpoint", "localhost:8080")
    assert status == 1 and error.count("\n") == 1
    assert error.startswith("error: the request to localhost:8080 failed")

"""The page of a deployed model, which sends requests to a function behind a gateway of another origin."""

import functools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from headstand import __main__
from headstand.cli import page
from headstand.errors import HeadstandError
from headstand.serve.classifier import Classifier
from headstand.serve.lambda_handler import LambdaFunction
from headstand.serve.page import markup
from tests import skips, tiny
from tests.serve import test_browser
from tests.serve.gateway import gateway

ROOT = Path(__file__).parents[2]
browser = test_browser.browser  # the fixture


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "green.png").write_bytes(tiny.photo((0, 255, 0)))
    return tiny.bundle(tmp_path / "tiny.tflite")


@pytest.fixture
def endpoint(model: Path) -> Iterator[str]:
    with gateway(LambdaFunction(Classifier(model))) as url:
        yield url


def run(*argv: str) -> None:
    __main__.main(["page", *argv])


def test_it_writes_the_files_of_a_static_site(
    model: Path, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    run("--endpoint", endpoint, "--model", str(model), "--output", str(site))
    lines = capsys.readouterr().out.splitlines()
    names = ["index.html", *markup.ASSETS, "samples/green.png"]
    assert lines[:-1] == [str(site / name) for name in names] and f"aws s3 sync {site} s3://" in lines[-1]
    text = (site / "index.html").read_text()
    assert f'action="{endpoint}"' in text and "up to 4 MB" in text


def test_an_unusable_endpoint_is_reported(model: Path, endpoint: str, tmp_path: Path) -> None:
    for argv, message in (
        (["--endpoint", "example.com/predict"], "must be a complete URL"),
        (["--endpoint", "http://127.0.0.1:9/predict"], "no response from http://127.0.0.1:9/model"),
        (["--endpoint", endpoint], "has other labels than"),  # the default model has other classes
        (["--endpoint", endpoint.replace("predict", "x/y"), "--model", str(model), "--port", "70000"], "port 70000"),
    ):
        with pytest.raises(HeadstandError, match=message):
            run(*argv)


def test_the_command_serves_the_page_and_exits_silently(model: Path, endpoint: str) -> None:
    command = [sys.executable, "-m", "headstand", "page", "--endpoint", endpoint, "--model", str(model), "--port", "0"]
    # In a background job the shell ignores SIGINT, and child processes inherit that.
    restore_sigint = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=restore_sigint, **pipes)  # type: ignore[call-overload]
    try:
        assert process.stdout
        address = process.stdout.readline().split()[0]
        with requests.Session() as session:
            session.trust_env = False
            for name, kind in {"": "text/html", **markup.ASSETS, "samples/green.png": "image/png"}.items():
                response = session.get(address + name, timeout=30)
                assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (200, kind), name
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        assert (process.returncode, out.strip(), error) == (0, "", "")
    finally:
        process.kill()


def test_the_test_script_sends_a_photo_through_the_gateway(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(tiny.photo((255, 0, 0)))
    command = [sys.executable, "test.py", str(tmp_path / "red.png"), "--endpoint", endpoint]
    probabilities = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout)
    assert probabilities == pytest.approx(tiny.expected((255, 0, 0)), abs=1e-6)


@pytest.fixture
def served(model: Path, endpoint: str, tmp_path: Path) -> Iterator[str]:
    run("--endpoint", endpoint, "--model", str(model), "--output", str(tmp_path / "site"))
    server = page.server(tmp_path / "site", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
@skips.chromium
def test_a_browser_sends_requests_to_another_origin(
    browser: Any,
    served: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for opened in test_browser.opened(browser, served):
        opened.set_input_files("#file", test_browser.file(test_browser.RED))
        test_browser.answer(opened, "red")
        opened.set_input_files("#file", test_browser.file(test_browser.UNCERTAIN))
        test_browser.answer(opened, "red", "Not sure, perhaps")  # CORS exposes the header to the other origin
        opened.locator("[data-sample]").click()
        test_browser.answer(opened, "green")
        opened.locator("#url").fill("http://10.0.0.1/photo.jpg")
        opened.locator("#address button").click()
        test_browser.problem(opened, "address")
    # If only another origin is allowed, the browser blocks the response.
    monkeypatch.setenv("HEADSTAND_ORIGIN", "https://pose.example")
    for opened in test_browser.opened(browser, served):
        opened.set_input_files("#file", test_browser.file(test_browser.RED))
        test_browser.problem(opened, "cannot be reached")

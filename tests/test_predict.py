import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import predict
from tests import tiny

ROOT = Path(__file__).parents[1]
PHOTO = tiny.photo((200, 100, 0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bundle(tmp_path_factory.mktemp("model") / "tiny.tflite")


def run(*argv: str, model: Path, code: str = "predict.py") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *([code] if code.endswith(".py") else ["-c", code]), *argv]
    environment = {**os.environ, "HEADSTAND_MODEL": str(model)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[tuple[str, int]]:
    """Runs `gunicorn predict:app` in a subprocess on a free port; returns host and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "predict:app", "--bind", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "HEADSTAND_MODEL": str(model)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"Listening at: http://([\d.]+):(\d+)", line):
                break
        assert found, "gunicorn did not start"
        yield found[1], int(found[2])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def request(
    service: tuple[str, int], method: str, path: str, body: bytes = b"", kind: str = ""
) -> tuple[int, dict, dict]:
    connection = HTTPConnection(*service, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def multipart() -> bytes:
    return b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + PHOTO + b"\r\n--cut--\r\n"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"image": base64.b64encode(PHOTO).decode()}).encode(), "application/json"),
        (multipart(), "multipart/form-data; boundary=cut"),
        (PHOTO, "image/png"),
        (PHOTO, ""),
    ],
)
def test_gunicorn_accepts_each_kind_of_request(service: tuple[str, int], body: bytes, kind: str) -> None:
    status, headers, response = request(service, "POST", "/predict", body, kind)
    assert status == 200 and headers["Headstand-Confident"] == "true"
    assert list(response) == ["red", "green", "blue"]
    assert response == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)


def test_gunicorn_reports_client_errors(service: tuple[str, int]) -> None:
    for body, kind, status, code in (
        (b'{"url": "http://127.0.0.1/"}', "application/json", 400, "forbidden_address"),
        (b"{", "application/json", 400, "bad_json"),
        (b"text", "image/png", 415, "not_an_image"),
        (PHOTO, "text/html", 415, "unsupported_media_type"),
    ):
        found, _, response = request(service, "POST", "/predict", body, kind)
        assert (found, response["code"]) == (status, code)
    assert request(service, "GET", "/predict")[0] == 405


def test_gunicorn_passes_the_health_check(service: tuple[str, int]) -> None:
    assert request(service, "GET", "/healthz")[::2] == (200, {"status": "ok", "model": "tiny"})


@pytest.mark.parametrize("option", [[], ["--preload"]])
def test_gunicorn_without_a_model_exits_with_one_error_line(tmp_path: Path, option: list[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "gunicorn", "predict:app", "--bind", "127.0.0.1:0", *option],
        cwd=ROOT,
        env={**os.environ, "HEADSTAND_MODEL": str(tmp_path / "none.tflite")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 4
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "make demo" in errors[0] and "none.tflite" in errors[0]
    assert "Traceback" not in found.stderr


def test_serving_imports_no_tensorflow_and_an_http_client_only_for_a_url(model: Path) -> None:
    code = """if True:
        import json, sys, predict
        client = predict.app.test_client()
        def loaded():
            return sorted({name.partition(".")[0] for name in sys.modules})
        assert client.post("/predict", data=open(sys.argv[1], "rb").read()).status_code == 200
        before = loaded()
        assert client.post("/predict", json={"url": "http://10.0.0.1/"}).status_code == 400
        print(json.dumps([before, loaded()]))
    """
    photo = model.with_name("photo.png")
    photo.write_bytes(PHOTO)
    found = run(str(photo), model=model, code=code)
    assert found.returncode == 0, found.stderr
    before, after = map(set, json.loads(found.stdout))
    assert not after & {"tensorflow", "keras", "h5py", "pydantic", "optuna", "sklearn", "matplotlib"}
    assert "requests" not in before and "requests" in after


def test_importing_predict_loads_no_model(tmp_path: Path) -> None:
    code = "import predict, sys; predict.main; assert not hasattr(predict, 'none') and 'flask' not in sys.modules"
    found = run(model=tmp_path / "none.tflite", code=code)
    assert found.returncode == 0, found.stderr


def test_files_are_predicted_one_per_line(model: Path, tmp_path: Path) -> None:
    red, blue = tmp_path / "red.png", tmp_path / "blue.jpg"
    red.write_bytes(tiny.photo((200, 100, 0)))
    blue.write_bytes(tiny.photo((0, 0, 250), "JPEG"))
    found = run(str(red), str(blue), model=model)
    assert found.returncode == 0
    first, second = map(json.loads, found.stdout.splitlines())
    assert first == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6) and next(iter(first)) == "red"
    assert next(iter(second)) == "blue"


def test_the_model_may_be_named_and_is_reported(model: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(PHOTO)
    found = run("--model", str(model), str(tmp_path / "red.png"), model=tmp_path / "none.tflite")
    assert (found.returncode, found.stderr) == (0, f"model: {model}\n")
    assert next(iter(json.loads(found.stdout))) == "red"


def test_an_unknown_input_has_a_line_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(tiny.known_bundle(tmp_path / "a.tflite")))
    (tmp_path / "red.png").write_bytes(PHOTO)
    (tmp_path / "dark.png").write_bytes(tiny.photo((20, 30, 40)))
    predict.main([str(tmp_path / "red.png"), str(tmp_path / "dark.png")])
    found = capsys.readouterr()
    assert [next(iter(json.loads(line))) for line in found.out.splitlines()] == ["red", "blue"]
    assert found.err.splitlines()[1:] == [
        f"unknown input: {tmp_path / 'dark.png'} is unlike the photos the model was trained on"
    ]


def test_an_unusable_image_has_an_error_line_and_fails_the_command(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "red.png").write_bytes(PHOTO)
    names = [str(tmp_path / name) for name in ("text.jpg", "none.jpg", "red.png")]
    argv = [names[0], "http://127.0.0.1/x.jpg", *names[1:]]
    found = run(*argv, model=model)
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["error"]["code"] for line in lines[:3]] == ["not_an_image", "forbidden_address", "not_an_image"]
    assert "none.jpg" in lines[2]["error"]["message"] and next(iter(lines[3])) == "red"
    assert found.returncode == 1 and "error: 3 of 4 images cannot be used" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_missing_or_invalid_model_is_reported_in_one_line(tmp_path: Path) -> None:
    found = run(str(tmp_path / "none.jpg"), model=tmp_path / "none.tflite")
    assert found.returncode == 1 and found.stderr.startswith("error: there is no model")
    (tmp_path / "text.tflite").write_text("text")
    found = run(str(tmp_path / "none.jpg"), model=tmp_path / "text.tflite")
    assert found.returncode == 1 and "is not a .tflite file" in found.stderr and "Traceback" not in found.stderr


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_without_arguments_the_usage_is_printed(argv: list[str], tmp_path: Path) -> None:
    found = run(*argv, model=tmp_path / "none.tflite")
    assert (
        found.returncode == 0 and "python predict.py IMAGE" in found.stdout and "gunicorn predict:app" in found.stdout
    )

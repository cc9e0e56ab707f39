"""The script `predict.py`; tests/serve/test_worker.py sends requests to `gunicorn predict:app`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import predict
from tests import commands, tiny

ROOT = Path(__file__).parents[1]
PHOTO = tiny.photo((200, 100, 0))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.bundle(tmp_path / "tiny.tflite")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the script in this process with the model in the environment; returns exit status, output and errors."""

    def run(*argv: str, model: Path) -> tuple[int, str, str]:
        monkeypatch.setenv("HEADSTAND_MODEL", str(model))
        status = commands.status(monkeypatch, predict.main, "predict.py", *argv)
        return status, *capsys.readouterr()

    return run


# With threads in an interpreter each worker loads the model itself.
@pytest.mark.parametrize("threads", ["1", "2"])
def test_gunicorn_without_a_model_exits_with_one_error_line(tmp_path: Path, threads: str) -> None:
    variables = {"HEADSTAND_MODEL": str(tmp_path / "none.tflite"), "HEADSTAND_THREADS": threads, "WEB_CONCURRENCY": "1"}
    found = subprocess.run(
        [sys.executable, "-m", "gunicorn", "predict:app", "--bind", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 4
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "headstand train PHOTOS" in errors[0] and "none.tflite" in errors[0]
    assert "Traceback" not in found.stderr


def test_serving_imports_no_tensorflow_and_an_http_client_only_for_a_url(model: Path) -> None:
    code = """if True:
        import json, os, sys, predict
        predict.main
        assert not hasattr(predict, "none") and "flask" not in sys.modules  # there is no model yet
        os.environ["HEADSTAND_MODEL"], photo = sys.argv[1:]
        client = predict.app.test_client()
        def loaded():
            return sorted({name.partition(".")[0] for name in sys.modules})
        assert client.post("/predict", data=open(photo, "rb").read()).status_code == 200
        before = loaded()
        assert client.post("/predict", json={"url": "http://10.0.0.1/"}).status_code == 400
        print(json.dumps([before, loaded()]))
    """
    photo = model.with_name("photo.png")
    photo.write_bytes(PHOTO)
    environment = {**os.environ, "HEADSTAND_MODEL": str(model.with_name("none.tflite"))}
    found = subprocess.run(
        [sys.executable, "-c", code, str(model), str(photo)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    before, after = map(set, json.loads(found.stdout))
    assert not after & {"tensorflow", "keras", "h5py", "pydantic", "optuna", "sklearn", "matplotlib"}
    assert "requests" not in before and "requests" in after


def test_files_are_predicted_one_per_line(run: Run, model: Path, tmp_path: Path) -> None:
    red, blue = tmp_path / "red.png", tmp_path / "blue.jpg"
    red.write_bytes(tiny.photo((200, 100, 0)))
    blue.write_bytes(tiny.photo((0, 0, 250), "JPEG"))
    status, out, _ = run(str(red), str(blue), model=model)
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert first == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6) and next(iter(first)) == "red"
    assert next(iter(second)) == "blue"


def test_the_model_may_be_named_and_is_reported(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(PHOTO)
    status, out, error = run("--model", str(model), str(tmp_path / "red.png"), model=tmp_path / "none.tflite")
    assert (status, error) == (0, f"model: {model}\n")
    assert next(iter(json.loads(out))) == "red"


def test_an_unknown_option_is_no_file(run: Run, model: Path) -> None:
    assert run("--modle", "x", "y", model=model) == (
        1, "", "error: unrecognized arguments: --modle (did you mean --model?); `python predict.py --help` lists the "
        "arguments\n",
    )  # fmt: skip


def test_an_unknown_input_has_a_line_on_standard_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(PHOTO)
    (tmp_path / "dark.png").write_bytes(tiny.photo((20, 30, 40)))
    model = tiny.known_bundle(tmp_path / "a.tflite")
    _, out, error = run(str(tmp_path / "red.png"), str(tmp_path / "dark.png"), model=model)
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["red", "blue"]
    assert error.splitlines()[1:] == [
        f"unknown input: {tmp_path / 'dark.png'} is unlike the photos the model was trained on"
    ]


def test_an_unusable_image_has_an_error_line_and_fails_the_command(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "red.png").write_bytes(PHOTO)
    names = [str(tmp_path / name) for name in ("text.jpg", "none.jpg", "red.png")]
    status, out, error = run(names[0], "http://127.0.0.1/x.jpg", *names[1:], model=model)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["error"]["code"] for line in lines[:3]] == ["not_an_image", "forbidden_address", "not_an_image"]
    assert "none.jpg" in lines[2]["error"]["message"] and next(iter(lines[3])) == "red"
    assert status == 1 and error.splitlines()[1:] == ["error: 3 of 4 images cannot be used"]


def test_a_missing_or_invalid_model_is_reported_in_one_line(run: Run, tmp_path: Path) -> None:
    status, _, error = run(str(tmp_path / "none.jpg"), model=tmp_path / "none.tflite")
    assert status == 1 and error.startswith("error: there is no model") and error.count("\n") == 1
    (tmp_path / "text.tflite").write_text("text")
    status, _, error = run(str(tmp_path / "none.jpg"), model=tmp_path / "text.tflite")
    assert status == 1 and "is not a .tflite file" in error and error.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_without_arguments_the_usage_is_printed(run: Run, argv: list[str], tmp_path: Path) -> None:
    status, out, _ = run(*argv, model=tmp_path / "none.tflite")
    assert status == 0 and "python predict.py IMAGE" in out and "gunicorn predict:app" in out

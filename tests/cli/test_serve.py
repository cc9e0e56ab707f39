import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstand import __main__
from headstand.errors import HeadstandError
from tests import skips, tiny

pytestmark = skips.unix


def test_gunicorn_replaces_the_process(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: started.append(argv))
    monkeypatch.setenv("HEADSTAND_MODEL", "")  # restored after the test
    model = tiny.bundle(workplace / "tiny.tflite")
    __main__.main(["serve", "tiny.tflite", "--port", "8123"])
    (argv,) = started
    assert argv[:3] == [sys.executable, "-m", "gunicorn"] and argv[-1] == "headstand.serve.flask_app:served()"
    options = dict(zip(argv[3:-1:2], argv[4:-1:2], strict=True))
    assert options["--bind"] == "127.0.0.1:8123" and Path(options["--config"]).is_file()
    assert os.environ["HEADSTAND_MODEL"] == str(model)
    assert capsys.readouterr().out == f"serving {model} (tiny, 3 classes) at http://127.0.0.1:8123/\n"


def test_a_file_that_is_no_model_is_refused(workplace: Path) -> None:
    Path("text.tflite").write_text("text")
    with pytest.raises(HeadstandError, match=r"is not a \.tflite file"):
        __main__.main(["serve", "text.tflite"])


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "HEADSTAND_INFLIGHT",
            "3",
            r"unknown .* HEADSTAND_INFLIGHT \(did you mean HEADSTAND_IN_FLIGHT",
        ),
        ("HEADSTAND_IN_FLIGHT", "abc", "HEADSTAND_IN_FLIGHT must be a whole number of at least 1, not 'abc'"),
    ],
)
def test_wrong_environment_variables_are_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(HeadstandError, match=message):
        __main__.main(["serve"])


def test_gunicorn_reports_a_wrong_limit_in_one_line(
    monkeypatch: pytest.MonkeyPatch, gunicorn_settings: Callable[[], object]
) -> None:
    monkeypatch.setenv("HEADSTAND_IN_FLIGHT", "abc")
    with pytest.raises(SystemExit, match=r"^error: HEADSTAND_IN_FLIGHT must be a whole number"):
        gunicorn_settings()


def test_gunicorn_warns_of_an_unknown_variable(
    monkeypatch: pytest.MonkeyPatch, gunicorn_settings: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADSTAND_INFLIGHT", "3")
    gunicorn_settings()
    assert capsys.readouterr().err == (
        "warning: unknown environment variable HEADSTAND_INFLIGHT (did you mean HEADSTAND_IN_FLIGHT?): unset it\n"
    )

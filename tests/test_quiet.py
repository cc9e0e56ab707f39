import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from headstand.quiet import quiet, without_information
from tests import tiny


def shout() -> None:
    print("printed")
    print("printed on stderr", file=sys.stderr)
    os.write(1, b"written\n")
    os.write(2, b"written on stderr\n")
    subprocess.run(["/bin/sh", "-c", "echo child; echo child on stderr >&2"], check=True)


SCRIPT = """
import sys, warnings
from headstand.quiet import quiet, without_information
from tests.test_quiet import shout
print("before", flush=True)
print("buffered before", end=" ")
with quiet():
    shout()
    warnings.warn("warned")
print("after")
print("after on stderr", file=sys.stderr)
"""


@pytest.mark.parametrize("loud", [False, True])
def test_nothing_gets_through_but_on_request(loud: bool) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0" if loud else "3"}
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    if loud:
        assert {"printed", "written", "child"} <= set(result.stdout.split())
        assert "warned" in result.stderr
        assert "child on stderr" in result.stderr
    else:
        assert result.stdout == "before\nbuffered before after\n"
        assert result.stderr == "after on stderr\n"


def test_an_exception_passes_and_the_voice_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="found"), quiet():
        os.write(2, b"unheard\n")
        raise KeyError("found")
    shout()
    out, err = capfd.readouterr()
    assert sorted(out.split()) == ["child", "printed", "written"]
    assert sorted(err.splitlines()) == ["child on stderr", "printed on stderr", "written on stderr"]


def test_within_one_another(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        with quiet():
            os.write(1, b"unheard\n")
        print("unheard")
        os.write(2, b"unheard\n")
    os.write(1, b"heard\n")
    assert capfd.readouterr() == ("heard\n", "")


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with quiet():
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_warnings_are_as_strict_afterwards_as_before() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warnings.warn("unheard", stacklevel=1)
        with pytest.raises(UserWarning):
            warnings.warn("heard", stacklevel=1)


def test_information_is_left_out_and_errors_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="found"), without_information():
        os.write(2, b"INFO: made a delegate\n")
        print("WARNING: odd", file=sys.stderr)
        os.write(1, b"an answer\n")
        os.write(2, b"ERROR: INFO is missing\nINFO: more\nthe end")
        raise KeyError("found")
    os.write(2, b", heard")
    out, err = capfd.readouterr()
    assert out == "an answer\n"
    assert err.splitlines() == ["WARNING: odd", "ERROR: INFO is missing", "the end, heard"]


def test_all_information_on_request(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with without_information():
        os.write(2, b"INFO: made a delegate\n")
    assert capfd.readouterr().err == "INFO: made a delegate\n"


def test_a_classifier_is_made_in_silence(tmp_path: Path) -> None:
    path = tiny.bundle(tmp_path / "tiny.tflite")
    script = f"from headstand.serve.classifier import Classifier; Classifier({str(path)!r}); print('made')"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (result.stdout, result.stderr) == ("made\n", "")

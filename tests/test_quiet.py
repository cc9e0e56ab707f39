import inspect
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from headstand.quiet import quiet, without_information
from tests import tiny


def write_everywhere() -> None:
    print("printed")
    print("printed on stderr", file=sys.stderr)
    os.write(1, b"written\n")
    os.write(2, b"written on stderr\n")
    subprocess.run(["/bin/sh", "-c", "echo child; echo child on stderr >&2"], check=True)


SCRIPT = f"""
import os, subprocess, sys, warnings
from headstand.quiet import quiet
{inspect.getsource(write_everywhere)}
print("before", flush=True)
print("buffered before", end=" ")
with quiet():
    write_everywhere()
    warnings.warn("warned")
print("after")
print("after on stderr", file=sys.stderr)
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_output_is_suppressed_unless_the_log_level_is_zero(verbose: bool) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0" if verbose else "3"}
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    if verbose:
        assert {"printed", "written", "child"} <= set(result.stdout.split())
        assert "warned" in result.stderr
        assert "child on stderr" in result.stderr
    else:
        assert result.stdout == "before\nbuffered before after\n"
        assert result.stderr == "after on stderr\n"


def test_an_exception_propagates_and_output_is_restored(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="found"), quiet():
        os.write(2, b"hidden\n")
        raise KeyError("found")
    write_everywhere()
    out, err = capfd.readouterr()
    assert sorted(out.split()) == ["child", "printed", "written"]
    assert sorted(err.splitlines()) == ["child on stderr", "printed on stderr", "written on stderr"]


def test_nested_suppression(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        with quiet():
            os.write(1, b"hidden\n")
        print("hidden")
        os.write(2, b"hidden\n")
    os.write(1, b"shown\n")
    assert capfd.readouterr() == ("shown\n", "")


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with quiet():
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_warning_filter_is_restored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warnings.warn("hidden", stacklevel=1)
        with pytest.raises(UserWarning):
            warnings.warn("shown", stacklevel=1)


def test_information_is_suppressed_and_errors_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="found"), without_information():
        os.write(2, b"INFO: created a delegate\n")
        print("WARNING: unusual", file=sys.stderr)
        os.write(1, b"a prediction\n")
        os.write(2, b"ERROR: INFO is missing\nINFO: more\nthe end")
        raise KeyError("found")
    os.write(2, b", shown")
    out, err = capfd.readouterr()
    assert out == "a prediction\n"
    assert err.splitlines() == ["WARNING: unusual", "ERROR: INFO is missing", "the end, shown"]


def test_log_level_zero_shows_information(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with without_information():
        os.write(2, b"INFO: created a delegate\n")
    assert capfd.readouterr().err == "INFO: created a delegate\n"


def test_creating_a_classifier_prints_nothing(tmp_path: Path) -> None:
    path = tiny.bundle(tmp_path / "tiny.tflite")
    script = f"from headstand.serve.classifier import Classifier; Classifier({str(path)!r}); print('created')"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (result.stdout, result.stderr) == ("created\n", "")

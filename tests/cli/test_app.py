"""The command `headstand`: help and errors at once, and the arguments that reach the functions."""

import json
import subprocess
import sys
from typing import Any

import pytest

from headstand import __main__
from headstand.cli import app, compare, demo
from headstand.errors import HeadstandError

HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "PIL",
    "pydantic",
    "requests",
    "flask",
    "sklearn",
    "matplotlib",
    "rich.console",
}


def test_help_and_errors_import_nothing_that_takes_long() -> None:
    code = """if True:
        import json, sys
        from headstand import __main__
        from headstand.errors import HeadstandError
        loaded = set()
        for argv in (["fly"], ["train"], ["train", "photos", "--fly"], ["train", "photos", "--head", "5"]):
            try:
                __main__.main(argv)
            except HeadstandError:
                loaded |= set(sys.modules)
        for argv in ([], ["--help"], ["train", "--help"], ["doctor", "-h"]):
            __main__.main(argv)
        print(json.dumps([sorted(loaded), sorted(sys.modules)]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    errors, helps = map(set, json.loads(done.stdout.splitlines()[-1]))
    assert not errors & HEAVY
    assert not helps & (HEAVY - {"rich.console"})


def test_the_help_lists_every_command_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"]):
        __main__.main(argv)
        out = capsys.readouterr().out
        assert [out.index(f"│ {name} ") for name in app.headstand.commands] == sorted(
            out.index(f"│ {name} ") for name in app.headstand.commands
        )
        assert all(f"─ {panel} ─" in out for panel in (app.MODELS, app.DATA, app.DEPLOY, app.MORE))
        assert len(out.splitlines()) <= 50


@pytest.mark.parametrize("name", app.headstand.commands)
def test_the_help_of_each_command_fits_on_a_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    __main__.main([name, "--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 50


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], r"No such command 'trian'. Did you mean 'train'\? `headstand --help` lists"),
        (
            ["train", "photos", "--nmae", "a"],
            r"Did you mean '--name'\? `headstand train --help` lists",
        ),
        (["train", "photos", "--epochs", "9"], "No such option '--epochs'.*--finetune.epochs.*--head.epochs"),
        (["train", "photos", "--backbone", "VGG16"], "backbone is a section; its keys are --backbone.name, "),
        (["train", "photos", "--head.dropout"], "--head.dropout needs a value"),
        (["train"], "Missing argument 'PHOTOS'"),
        (["convert", "a.h5", "--format", "int9"], "Invalid value for '--format': 'int9' is not one of 'float32'"),
        (["manifests", "yoga6", "--prefix", "s3://a", "--upload", "s3://a"], "exclude each other"),
    ],
)
def test_errors_name_the_argument_and_a_similar_one(argv: list[str], message: str) -> None:
    with pytest.raises(HeadstandError, match=message):
        __main__.main(argv)


@pytest.mark.parametrize(
    ("argv", "module", "expected"),
    [
        (["demo"], demo, ("demo", [])),
        (["demo", "yoga6"], demo, ("yoga6", [])),
        (["demo", "--head.epochs", "3"], demo, ("demo", ["--head.epochs", "3"])),
        (["compare", "--under-ms=50", "a", "--seed", "2"], compare, ("a", ["--compare.under_ms", "50", "--seed", "2"])),
    ],
)
def test_recipes_and_keys_reach_the_function(
    argv: list[str], module: Any, expected: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(module, "run", lambda *arguments: given.append(arguments))
    __main__.main(argv)
    assert given == [expected]


def test_missing_packages_are_reported_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr(__main__, "invoke", fail)
    with pytest.raises(ModuleNotFoundError):
        __main__.main([])
    monkeypatch.setattr(__main__, "find_spec", lambda name: None)
    with pytest.raises(HeadstandError, match=r"not installed \(pydantic\): pip install 'headstand\[train\]'"):
        __main__.main([])

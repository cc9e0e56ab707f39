import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from headstand.cli import command
from headstand.errors import HeadstandError


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ("yoga6", [])),
        (["demo"], ("demo", [])),
        (["demo", "--head.dropout", "0.5"], ("demo", ["--head.dropout", "0.5"])),
        (["--head.dropout", "0.5"], ("yoga6", ["--head.dropout", "0.5"])),
        (["a/b.toml", "--help"], ("a/b.toml", ["--help"])),
    ],
)
def test_the_recipe_is_an_optional_first_argument(argv: list[str], expected: tuple[str, list[str]]) -> None:
    assert command.recipe_and_rest(argv) == expected


def raising(error: BaseException) -> Callable[[list[str]], None]:
    def main(argv: list[str]) -> None:
        raise error

    return main


def test_run_passes_the_arguments_without_the_script_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["script.py", "a", "--b"])
    command.run(given.append)
    assert given == [["a", "--b"]]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HeadstandError("there is no recipe 'x'"), "error: there is no recipe 'x'"),
        (OSError(28, "No space left on device", "runs/a"), "error: No space left on device: runs/a"),
        (OSError(28, "No space left on device"), "error: No space left on device"),
        (PermissionError(13, "Permission denied", "data"), "error: Permission denied: data"),
    ],
)
def test_user_errors_are_one_line_with_exit_status_1(error: Exception, line: str) -> None:
    with pytest.raises(SystemExit) as excinfo:
        command.run(raising(error))
    assert excinfo.value.code == line


def test_an_interruption_has_exit_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as excinfo:
        command.run(raising(KeyboardInterrupt()))
    assert excinfo.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted; run the same command again to continue\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("without a reason")])
def test_internal_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        command.run(raising(error))


def shell(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_the_shell_gets_exit_status_and_standard_error() -> None:
    failed = shell(
        "from headstand import errors\nfrom headstand.cli import command\n"
        "def main(argv): raise errors.HeadstandError('no ' + argv[0])\n"
        "command.run(main)",
        "model",
    )
    assert (failed.returncode, failed.stdout, failed.stderr) == (1, "", "error: no model\n")
    assert shell("from headstand.cli import command; command.run(print)", "a").returncode == 0


def test_a_closed_pipe_causes_no_message() -> None:
    code = "from headstand.cli import command\n"
    code += "command.run(lambda argv: [print('x' * 999, flush=True) for _ in range(999)])"
    result = subprocess.run(
        ["/bin/bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -c 5', sys.executable, code],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("xxxxx", "")
    assert result.returncode == 1


def test_an_unknown_option_is_an_error_with_a_similar_one() -> None:
    parser = command.Parser("python test.py", None)
    parser.add_argument("--endpoint")
    with pytest.raises(
        command.UsageError, match=r"^unrecognized arguments: --endpiont a \(did you mean --endpoint\?\); `"
    ):
        parser.parse_args(["--endpiont", "a"])

"""`.ci/run` with stubs for every command that it calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import skips

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
TOOLS = ("chromium", "nginx", "openssl", "buildah", "debootstrap")
TARGETS = ["make test", "make test-browser", "make test-container", "make test-notebooks"]

pytestmark = skips.unix


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Returns a folder of stub commands that record their arguments and the value of CI."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    record = f'#!/bin/sh\necho "${{0##*/}} $*" >> {tmp_path}/calls\necho "$CI" > {tmp_path}/ci\n'
    (folder / "make").write_text(record + 'if [ "$1" = "$FAILING" ]; then exit 2; fi\n')
    (folder / "apt-get").write_text(record)
    (folder / "docker").write_text("#!/bin/sh\nexit 1\n")
    (folder / "id").write_text('#!/bin/sh\necho "${USER_ID:-0}"\n')
    for path in folder.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    return folder


def install(commands: Path, *names: str) -> None:
    for name in names:
        shutil.copy(commands / "docker", commands / name)


def run(commands: Path, **variables: str) -> tuple[int, str, list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"PATH": str(commands), **variables}
    done = subprocess.run([commands / "bash", SCRIPT], env=environment, capture_output=True, text=True)
    calls = commands.parent / "calls"
    return done.returncode, done.stderr, calls.read_text().splitlines() if calls.exists() else []


def test_missing_packages_are_installed_and_all_targets_run(commands: Path) -> None:
    status, _, calls = run(commands)
    assert status == 0
    assert calls[0].startswith("apt-get update") and calls[1].startswith("apt-get install")
    assert calls[1].endswith(" chromium nginx-light openssl buildah debootstrap")
    assert calls[2:] == TARGETS
    assert (commands.parent / "ci").read_text() == "true\n"


def test_installed_packages_are_not_installed_again(commands: Path) -> None:
    install(commands, *TOOLS)
    assert run(commands) == (0, "", TARGETS)


def test_without_root_missing_packages_are_reported(commands: Path) -> None:
    install(commands, "chromium", "buildah")
    status, error, calls = run(commands, USER_ID="1000")
    assert (status, calls) == (1, [])
    assert error == (
        "error: these Debian packages are missing: nginx-light openssl debootstrap; install them, or run this as root\n"
    )


@pytest.mark.parametrize("failing", ["test", "test-browser", "test-container", "test-notebooks"])
def test_a_failing_target_fails_the_script(commands: Path, failing: str) -> None:
    install(commands, *TOOLS)
    status, _, calls = run(commands, FAILING=failing)
    assert status != 0 and calls[-1] == f"make {failing}"

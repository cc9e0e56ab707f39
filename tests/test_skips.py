import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTS = """
import pytest
from tests import skips

def test_passes(): pass

@pytest.mark.skipif(True, reason="no Chromium is installed")
def test_browser(): pass

def test_container():
    pytest.skip("buildah is missing")

@pytest.fixture
def network():
    pytest.skip("no route to the host")

def test_network(network): pass

@pytest.mark.skipif(True, reason=skips.PLATFORM + "it reads /proc")
def test_platform(): pass

@pytest.mark.xfail
def test_known(): assert False
"""

MODULE = "import pytest\npytest.importorskip('no_such_module', reason='Playwright is not installed')\n"


def run(folder: Path, **variables: str) -> tuple[int, list[str]]:
    """Runs pytest in a folder with this plugin alone; returns exit status and output lines."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
    command = [sys.executable, "-m", "pytest", "-p", "tests.skips", "-p", "no:cacheprovider", "-ra", "-q", "."]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_one.py").write_text(TESTS)
    return tmp_path


def test_without_ci_the_summary_lists_skipped_tests_with_reasons(folder: Path) -> None:
    (folder / "test_module.py").write_text(MODULE)
    status, lines = run(folder)
    assert (status, lines[-1].split(" in ")[0]) == (0, "1 passed, 5 skipped, 1 xfailed")
    reasons = ["Playwright is not installed", "no Chromium is installed", "buildah is missing", "no route to the host",
               "not on this operating system: it reads /proc"]  # fmt: skip
    for reason in reasons:
        assert [line for line in lines if line.startswith("SKIPPED") and reason in line], reason


def test_with_ci_set_a_skipped_test_is_a_failure(folder: Path) -> None:
    status, lines = run(folder, CI="true")
    assert (status, lines[-1].split(" in ")[0]) == (1, "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors")
    text = "\n".join(lines)
    assert text.count("CI is set, so a skipped test is a failure") >= 3
    for reason in ("no Chromium is installed", "buildah is missing", "no route to the host"):
        assert f"Skipped: {reason}\n" in text
    failed = [line.split("::")[1] for line in lines if line.startswith(("FAILED", "ERROR ")) and "::" in line]
    assert sorted(name.split()[0] for name in failed) == ["test_browser", "test_container", "test_network"]


def test_with_ci_set_a_skipped_module_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text(MODULE)
    status, lines = run(tmp_path, CI="1")
    assert status != 0
    assert any("Playwright is not installed" in line for line in lines)
    assert any("CI is set" in line for line in lines)

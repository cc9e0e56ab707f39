"""Pytest plugin that turns skipped tests into failures if the environment variable `CI` is set.

In CI, browsers, containers and the network must be available, because a test that is always skipped checks nothing.
Only tests that the operating system cannot run may be skipped, with a reason that starts with `PLATFORM`. Elsewhere the
summary lists the skipped tests and their reasons.
"""

import os
import shutil
import sys
from collections.abc import Generator
from typing import TypeVar

import pytest

PLATFORM = "not on this operating system: "

linux = pytest.mark.skipif(sys.platform != "linux", reason=f"{PLATFORM}it reads /proc")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed; on Debian: apt install chromium")
unix = pytest.mark.skipif(sys.platform == "win32", reason=f"{PLATFORM}it needs Unix")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _failed_if_skipped((yield))


def _failed_if_skipped(report: Report) -> Report:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(PLATFORM):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nCI is set, so a skipped test is a failure: install what it needs."
    return report

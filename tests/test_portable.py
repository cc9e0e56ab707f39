import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import portable, skips

ROOT = Path(__file__).parents[1]


@skips.unix
@pytest.mark.slow
def test_prepare_train_convert_and_predict_run_without_linux_apis(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADSTAND_")}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "tests.portable", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    probabilities = json.loads(done.stdout.splitlines()[-1])
    assert sorted(probabilities) == ["circle", "cross", "square"]


def test_the_reduced_modules_lack_unix_names() -> None:
    modules = portable.reduced()
    for name in ("sched_getaffinity", "getuid", "geteuid", "fork", "memfd_create", "statvfs", "killpg", "O_NOFOLLOW"):
        assert not hasattr(modules["os"], name)
    assert modules["os"].environ is os.environ and modules["os"].getpid() == os.getpid()
    assert not hasattr(modules["signal"], "SIGKILL") and modules["signal"].SIGTERM == 15
    assert not hasattr(modules["socket"], "TCP_DEFER_ACCEPT") and not hasattr(modules["socket"], "AF_UNIX")


def test_a_rename_onto_an_existing_file_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    portable.rename(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").write_text("other")
    with pytest.raises(FileExistsError):
        portable.rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "a"

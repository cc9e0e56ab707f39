import os
from pathlib import Path

import pytest

from headstand.errors import HeadstandError
from headstand.scale.sagemaker.job_folders import JobFolders


@pytest.fixture
def folders(workplace: Path) -> JobFolders:
    return JobFolders.of({"SM_MODEL_DIR": "opt/model", "SM_OUTPUT_DATA_DIR": "opt/output/data"})


def test_the_folders_are_sagemakers(workplace: Path, folders: JobFolders) -> None:
    opt = Path.cwd() / "opt"
    assert folders == JobFolders(opt / "model", opt / "output" / "data")
    assert folders == JobFolders.of({"SM_MODEL_DIR": "opt/model"})
    assert (folders.checkpoints, folders.failure) == (opt / "checkpoints", opt / "output" / "failure")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HeadstandError("there is no recipe 'x'"), "there is no recipe 'x'"),
        (FileNotFoundError(2, "No such file or directory", "/a"), "[Errno 2] No such file or directory: '/a'"),
        (KeyError("k"), "KeyError: 'k' (a bug in Headstand; see the traceback in the log)"),
        (HeadstandError("ä" * 1000), "ä" * 512),
    ],
    ids=["ours", "file", "fault", "long"],
)
def test_a_failure_is_told_in_its_file(folders: JobFolders, error: Exception, message: str) -> None:
    folders.fail(error)
    assert folders.failure.read_bytes() == message.encode()


def test_runs_and_features_lie_among_the_checkpoints_and_downloads_do_not(
    folders: JobFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HEADSTAND_CACHE", "")
    monkeypatch.delenv("HEADSTAND_CACHE")
    for _ in range(2):  # a container may be used again
        folders.enter()
    assert Path.cwd() == folders.work
    cache = Path(os.environ["HEADSTAND_CACHE"])
    for result in ("runs/poses/a", cache / "features/a", cache / "activations/a", cache / "kaggle/a"):
        Path(result).mkdir(parents=True)
    assert sorted(path.relative_to(folders.checkpoints).as_posix() for path in folders.checkpoints.rglob("a")) == [
        "activations/a",
        "features/a",
        "runs/poses/a",
    ]


def test_a_cache_that_is_named_stays(folders: JobFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_CACHE", "/elsewhere")
    folders.enter()
    assert os.environ["HEADSTAND_CACHE"] == "/elsewhere"
    assert not (folders.checkpoints / "features").exists()

import os
from pathlib import Path

import pytest

from headstand.cloud.place import Place
from headstand.errors import HeadstandError


@pytest.fixture
def place(workplace: Path) -> Place:
    return Place.of({"SM_MODEL_DIR": "opt/model", "SM_OUTPUT_DATA_DIR": "opt/output/data"})


def test_the_folders_are_sagemakers(workplace: Path, place: Place) -> None:
    opt = Path.cwd() / "opt"
    assert place == Place(opt / "model", opt / "output" / "data")
    assert place == Place.of({"SM_MODEL_DIR": "opt/model"})
    assert (place.checkpoints, place.failure) == (opt / "checkpoints", opt / "output" / "failure")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HeadstandError("there is no recipe 'x'"), "there is no recipe 'x'"),
        (FileNotFoundError(2, "No such file or directory", "/a"), "[Errno 2] No such file or directory: '/a'"),
        (KeyError("k"), "KeyError: 'k' (a fault of Headstand's; the log has the traceback)"),
        (HeadstandError("ä" * 1000), "ä" * 512),
    ],
    ids=["ours", "file", "fault", "long"],
)
def test_a_failure_is_told_in_its_file(place: Place, error: Exception, told: str) -> None:
    place.fail(error)
    assert place.failure.read_bytes() == told.encode()


def test_runs_and_features_lie_among_the_checkpoints_and_downloads_do_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HEADSTAND_CACHE", "")
    monkeypatch.delenv("HEADSTAND_CACHE")
    for _ in range(2):  # a container may be used again
        place.enter()
    assert Path.cwd() == place.work
    cache = Path(os.environ["HEADSTAND_CACHE"])
    for made in ("runs/poses/a", cache / "features/a", cache / "activations/a", cache / "kaggle/a"):
        Path(made).mkdir(parents=True)
    assert sorted(path.relative_to(place.checkpoints).as_posix() for path in place.checkpoints.rglob("a")) == [
        "activations/a",
        "features/a",
        "runs/poses/a",
    ]


def test_a_cache_that_is_named_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_CACHE", "/elsewhere")
    place.enter()
    assert os.environ["HEADSTAND_CACHE"] == "/elsewhere"
    assert not (place.checkpoints / "features").exists()

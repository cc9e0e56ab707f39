"""Source, cache and runs in a bucket, as two machines would use them one after the other."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from headstand import training
from headstand.errors import HeadstandError
from headstand.features import Extractor, extractor
from headstand.heads import checkpoint
from headstand.preparation.manifest import Dataset
from headstand.preparation.prepare import prepare
from headstand.preparation.sources import archive
from headstand.recipe import Backbone
from headstand.runs import newest_checkpoint
from tests import photos
from tests.networks import recipe
from tests.storage.conftest import keys

pytestmark = pytest.mark.usefixtures("small_networks", "undrawn")

BACKBONE = Backbone(name="MobileNet", size=32, weights="none")


def upload(client: Any, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket="photos", Key=key, Body=path.read_bytes())


def test_a_folder_of_class_folders_is_a_source(bucket: Any, workplace: Path) -> None:
    result = photos.prepare(workplace / "prepared")
    upload(bucket, result.folder / "train", "poses")
    summary = prepare(recipe("s3://photos/poses/"))
    assert sum(sum(row.values()) for row in summary.counts.values()) == 24
    assert prepare(recipe("s3://photos/poses/")).is_new is False
    # A photo less at the source is one less here.
    bucket.delete_object(Bucket="photos", Key=keys(bucket)[0])
    assert sum(sum(row.values()) for row in prepare(recipe("s3://photos/poses")).counts.values()) == 23


def test_any_store_holds_folders_and_archives(workplace: Path) -> None:
    result = photos.prepare(workplace / "prepared")
    folder = (result.folder / "train").as_uri()
    copied = archive.unpacked(folder)
    assert len(list(copied.rglob("*.jpg"))) == 12
    assert workplace / ".cache" in copied.parents
    packed = shutil.make_archive(str(workplace / "poses"), "zip", result.folder / "train")
    assert len(list(archive.unpacked(Path(packed).as_uri()).rglob("*.jpg"))) == 12
    with pytest.raises(HeadstandError, match=r"file:///.*nothing\.zip does not exist"):
        archive.unpacked((workplace / "nothing.zip").as_uri())


def test_features_are_found_by_another_machine(bucket: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "_UPLOAD", 20 * 12 * 4)
    monkeypatch.setenv("HEADSTAND_CACHE", "s3://photos/cache")
    rows = Extractor(BACKBONE).rows(dataset.folder, dataset.photos)
    assert rows.computed == 48
    shards = keys(bucket)
    assert len(shards) == 2 and all(key.startswith("cache/features/MobileNet-32-") for key in shards)
    assert Extractor(BACKBONE).rows(dataset.folder, dataset.photos).computed == 0
    assert keys(bucket) == shards
    shutil.rmtree(".cache")
    again = Extractor(BACKBONE).rows(dataset.folder, dataset.photos)
    assert again.computed == 0
    assert (again.rows == rows.rows).all()


def test_features_computed_before_a_failure_are_uploaded(
    bucket: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTAND_CACHE", "s3://photos/cache")
    last = dataset.folder / dataset.photos[-1].path
    extractor = Extractor(BACKBONE)
    keys = extractor.keys(dataset.folder, dataset.photos, recipe().augmentation, 1, (None,))
    content = last.read_bytes()
    last.write_bytes(b"?")
    paths = [dataset.folder / photo.path for photo in dataset.photos]
    with pytest.raises(HeadstandError, match="take it out of the source"):
        list(extractor.compute(range(48), keys, paths, recipe().augmentation, (None,), "test"))
    last.write_bytes(content)
    shutil.rmtree(".cache")
    assert Extractor(BACKBONE).rows(dataset.folder, dataset.photos).computed == 48 - 32


@pytest.mark.slow
def test_run_is_resumed_on_another_machine(bucket: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_RUNS", "s3://photos/runs")
    grid = {"strategy": "grid", "parameters": {"learning_rate": {"values": [0.001, 0.02]}}}
    print_trial = training._print_trial

    def interrupted(trial: Any, from_journal: bool) -> None:
        print_trial(trial, from_journal)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "_print_trial", interrupted)
        training.train(recipe(search=grid))
    (begun,) = Path("runs/shapes").iterdir()
    assert f"runs/shapes/{begun.name}/search.journal" in keys(bucket)
    assert f"runs/shapes/{begun.name}/report.json" not in keys(bucket)
    shutil.rmtree("runs")

    from_journal = []
    monkeypatch.setattr(training, "_print_trial", lambda trial, known: from_journal.append(known))
    outcome = training.train(recipe(search=grid))
    assert outcome.folder == begun
    assert sorted(from_journal) == [False, True]
    assert f"runs/shapes/{begun.name}/report.json" in keys(bucket)
    shutil.rmtree("runs")

    # Whoever converts or serves it elsewhere finds it.
    newest = newest_checkpoint("shapes")
    assert newest == outcome.checkpoint
    assert checkpoint.metadata(newest).labels == dataset.classes
    # A finished run is not gone on with.
    shutil.rmtree("runs")
    assert training.train(recipe(search=grid)).folder != begun

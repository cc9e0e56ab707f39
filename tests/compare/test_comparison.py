import csv
import html
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from headstand import heads
from headstand.cli import command
from headstand.compare import comparison as comparisons
from headstand.compare import measuring
from headstand.compare.comparison import Comparison, compare
from headstand.compare.result import ModelSize
from headstand.export import tflite_conversion
from headstand.export.latency import Latency
from headstand.features import Extractor, backbones, extractor
from headstand.features.backbones import BackboneError
from headstand.heads import fitting
from headstand.preparation.manifest import Dataset, ManifestError
from headstand.recipe import Head, Recipe
from headstand.runs import RunError, begin, newest_checkpoint
from tests import networks
from tests.pages import Tags

pytestmark = pytest.mark.usefixtures("workplace", "small_networks")

VARIANTS: Sequence[dict[str, object]] = (
    {"name": "sgd", "head.optimizer": "sgd"},
    {"name": "max", "backbone.pooling": "max", "head.inner": 4},
)


def recipe(**compare: Any) -> Recipe:
    limits = {"backbones": ("VGG16", "Xception=imagenet"), **compare}
    return networks.recipe(variants=VARIANTS, compare=limits, head={"inner": 8, "epochs": 3, "learning_rate": 0.02})


class Clock:
    """Takes down what it times, and answers with the bytes: larger models are slower, whatever the machine does."""

    def __init__(self, stop: int = 1_000) -> None:
        self.timed: list[int] = []
        self.stop = stop

    def __call__(self, flatbuffers: Sequence[bytes], threads: int) -> list[Latency]:
        (flatbuffer,) = flatbuffers
        assert threads == 1
        if len(self.timed) == self.stop:
            raise KeyboardInterrupt
        self.timed.append(len(flatbuffer))
        return [Latency(len(flatbuffer) / 1000, 1.0)]


@pytest.fixture(scope="module")
def made_once() -> SimpleNamespace:
    """What takes most of the time here, each made once for the same arguments: networks, their graphs, trained heads.

    Networks without weights and heads are drawn from seeds, and nobody changes them.
    """
    heads_by: dict[tuple[Any, ...], heads.Fit] = {}

    def fit(
        head: Head, train: heads.FeatureSplit, validation: heads.FeatureSplit, classes: int, seed: int
    ) -> heads.Fit:
        splits = (array for split in (train, validation) for array in (split.features, split.labels, split.views))
        key = (head, classes, seed, *(None if array is None else np.asarray(array).tobytes() for array in splits))
        if key not in heads_by:
            heads_by[key] = fitting.fit(head, train, validation, classes, seed)
        return heads_by[key]

    return SimpleNamespace(extractor=cache(backbones.extractor), compiled=cache(extractor.compiled), fit=fit)


@pytest.fixture
def drawn() -> None:
    """The comparison is drawn, as for users."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, made_once: SimpleNamespace) -> None:
    """Converting and drawing take seconds and have their own tests: a model's bytes are as many as its weights'."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(comparisons.plot, "scatter", lambda *arguments: Figure(figsize=(1, 1)))
    monkeypatch.setattr(measuring, "converted", lambda model: bytes(4 * model.count_params()))
    monkeypatch.setattr(backbones, "extractor", made_once.extractor)
    monkeypatch.setattr(extractor, "compiled", made_once.compiled)
    monkeypatch.setattr(heads, "fit", made_once.fit)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Downloads fail, and are taken down."""
    tried: list[str] = []

    def fail(include_top: bool, weights: str | None, input_shape: Any) -> Any:
        if weights == "imagenet":
            tried.append(weights)
            raise Exception("URL fetch failure")
        return networks.tiny(include_top, weights, input_shape)

    monkeypatch.setattr(networks.keras.applications, "Xception", fail)
    return tried


def by_title(comparison: Comparison) -> dict[str, Any]:
    return {result.entry.title: result for result in comparison.results}


def test_what_is_measured_and_what_cannot_be(dataset: Dataset, offline: list[str]) -> None:
    clock = Clock()
    comparison = compare(recipe(), clock)
    known = by_title(comparison)
    assert set(known) == {
        "MobileNet@32 (none) sgd", "MobileNet@32 (none) max", "MobileNet@32 (none) as the recipe",
        "VGG16@32 (none) as the recipe", "Xception@32 as the recipe",
    }  # fmt: skip
    for title, result in known.items():
        assert result.model_size.size > 1000
        if title.startswith("Xception"):
            assert result.score is None
            assert not result.model_size.trained
            assert "accuracy not measured: cannot download the ImageNet weights of Xception" in result.reasons[0]
        else:
            assert result.model_size.trained
            assert result.reasons == ()
            low, high = result.score.interval
            assert low <= result.score.val_accuracy <= high
            assert len(result.score.right) == len(dataset.split("validation"))
            assert result.score.val_accuracy == result.score.right.count("1") / len(result.score.right)
    assert comparison.results[-1].entry.backbone.name == "Xception"
    assert offline == ["imagenet"]
    # The two that differ in their optimizer alone are one model; four architectures are timed.
    assert len(clock.timed) == 4
    assert known["MobileNet@32 (none) sgd"].model_size == known["MobileNet@32 (none) as the recipe"].model_size


def test_the_models_are_converted(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "converted", tflite_conversion.float32)
    converted: list[bytes] = []

    def clock(flatbuffers: Sequence[bytes], threads: int) -> list[Latency]:
        converted.extend(flatbuffers)
        return [Latency(1.0, 1.0)]

    (result,) = compare(networks.recipe(compare={"backbones": ()}), clock).results
    assert converted[0][4:8] == b"TFL3"
    assert result.model_size == ModelSize(len(converted[0]), 1.0, 1.0, True)


def test_accuracy_is_that_of_the_head_that_training_makes(dataset: Dataset) -> None:
    settings = recipe(backbones=())
    result = by_title(compare(settings, Clock()))["MobileNet@32 (none) as the recipe"]
    extractor = Extractor(settings.backbone)
    splits = []
    for name in ("train", "validation"):
        photos = dataset.split(name)
        labels = np.array([dataset.classes.index(photo.class_) for photo in photos], np.int32)
        splits.append(heads.FeatureSplit(extractor.rows(dataset.folder, photos).rows, labels))
    fit = fitting.fit(settings.head, splits[0], splits[1], len(dataset.classes), settings.seed)
    assert result.score.val_accuracy == pytest.approx(fit.best["val_accuracy"])
    assert result.score.epoch == fit.best_epoch


def test_the_test_split_is_never_read(dataset: Dataset) -> None:
    for photo in dataset.split("test"):
        (dataset.folder / photo.path).unlink()
    assert all(result.score for result in compare(recipe(backbones=()), Clock()).results)


def test_features_are_made_once_and_what_the_cache_had_is_told(dataset: Dataset) -> None:
    count = len(dataset.split("train")) + len(dataset.split("validation"))
    first = by_title(compare(recipe(backbones=()), Clock()))
    assert {(result.score.cached, result.score.photos) for result in first.values()} == {(0, count)}
    again = by_title(compare(recipe(backbones=()), Clock()))
    assert {(result.score.cached, result.score.photos) for result in again.values()} == {(count, count)}


def test_views_are_learnt_from(dataset: Dataset) -> None:
    settings = networks.recipe(
        variants=[{"name": "views", "augmentation.views": 2}], compare={"backbones": ()}, head={"epochs": 2}
    )
    known = by_title(compare(settings, Clock()))
    train, validation = len(dataset.split("train")), len(dataset.split("validation"))
    assert known["MobileNet@32 (none) views"].score.photos == 3 * train + validation


def test_the_files(dataset: Dataset, offline: list[str], drawn: None, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(recipe(under_mb=0.001), Clock())
    assert comparison.folder.parent == Path("runs/shapes")
    assert comparison.folder.name.startswith("compare-20")
    names = {path.name for path in comparison.folder.iterdir()} - {".lock"}
    assert names == {"entries.json", "entries.jsonl", "compare.csv", "compare.html", "compare.json", "compare.png"}
    with (comparison.folder / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["val_accuracy"] == "not measured" for row in rows] == [False] * 4 + [True]
    assert rows[-1]["measured_with"] == "random weights"
    written = json.loads((comparison.folder / "compare.json").read_text())
    assert written["data"] == dataset.digest
    assert written["limits"] == {"milliseconds": None, "megabytes": 0.001}
    assert written["picked"] is None
    assert written["verdict"] == "selected within 0.001 MB: no measured entry"
    assert [entry["title"] for entry in written["entries"]] == [result.entry.title for result in comparison.results]
    assert (comparison.folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    page = (comparison.folder / "compare.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert all(address.startswith(("data:image/png;", "#")) for address in tags.addresses)
    assert page.count('<th scope="row">') == len(rows)
    assert written["verdict"] in page and all(note in html.unescape(page) for note in written["notes"])
    assert "  Xception@32 as the recipe: val_accuracy=not measured, " in capsys.readouterr().out


def test_the_limits_select(dataset: Dataset, offline: list[str]) -> None:
    sizes = sorted({result.model_size.size for result in compare(recipe(), Clock()).results if result.model_size})
    comparison = compare(recipe(under_ms=sizes[-2] / 1000), Clock())
    assert comparison.choice is not None
    assert comparison.choice.selected.model_size is not None
    assert comparison.choice.selected.model_size.size <= sizes[-2]
    title = comparison.choice.selected.entry.title
    assert f"selected within {sizes[-2] / 1000:g} ms: {title}, val_accuracy=" in comparison.verdict
    assert "1 more fit the limits, but their accuracy is not measured" in comparison.verdict or sizes[-1] == sizes[-2]


def test_an_error_in_one_entry_does_not_end_the_others(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, convert = heads.fit, measuring.converted

    def failing(head: Any, *rest: Any) -> Any:
        if head.optimizer == "sgd":
            raise MemoryError("out of memory\nsecond line")
        return fit(head, *rest)

    def unconverted(model: Any) -> bytes:
        if "max" in type(model.get_layer("pool")).__name__.lower():
            raise measuring.HeadstandError("no such operation")
        return convert(model)

    monkeypatch.setattr(heads, "fit", failing)
    monkeypatch.setattr(measuring, "converted", unconverted)
    known = by_title(compare(recipe(backbones=("VGG16",)), Clock()))
    sgd = known["MobileNet@32 (none) sgd"]
    assert (sgd.score, sgd.reasons) == (None, ("accuracy not measured: MemoryError: out of memory",))
    assert sgd.model_size is not None
    pooled = known["MobileNet@32 (none) max"]
    assert pooled.score is not None
    assert (pooled.model_size, pooled.reasons) == (None, ("size and latency not measured: no such operation",))
    assert known["VGG16@32 (none) as the recipe"].reasons == ()


def test_training_that_diverges_has_no_accuracy(dataset: Dataset) -> None:
    settings = networks.recipe(
        compare={"backbones": ()}, head={"inner": 8, "epochs": 2, "learning_rate": 10, "optimizer": "sgd"}
    )
    huge = settings.model_copy(update={"head": settings.head.model_copy(update={"learning_rate": 1e30})})
    (result,) = compare(huge, Clock()).results
    assert result.score is None
    assert "training diverges" in result.reasons[0]


def test_weights_that_are_not_there(dataset: Dataset) -> None:
    (result,) = compare(networks.recipe(
        backbone={"name": "MobileNet", "size": 32, "weights": "nowhere.h5"}, compare={"backbones": ()}
    ), Clock()).results  # fmt: skip
    assert result.score is None
    assert result.model_size is not None
    assert "there is no nowhere.h5" in result.reasons[0]


def test_without_data_size_and_latency_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(recipe(backbones=("VGG16",)), Clock())
    assert all(result.score is None and result.model_size for result in comparison.results)
    assert comparison.choice is None
    out = capsys.readouterr().out
    assert (
        "there is no prepared data at data/shapes (`python -m headstand explore PHOTOS --name shapes` prepares it)"
        in out
    )
    assert "heads with 10 classes" in out


def test_data_that_is_damaged_is_an_error(dataset: Dataset) -> None:
    (dataset.folder / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match="columns"):
        compare(recipe(), Clock())
    assert not Path("runs").exists()


def test_an_unknown_backbone_is_refused_before_anything_is_begun(dataset: Dataset) -> None:
    with pytest.raises(
        BackboneError, match=r"unknown backbone 'Xeption' \(did you mean Xception\?\); there are .*Xception"
    ):
        compare(recipe(backbones=("Xeption",)), Clock())
    assert not Path("runs").exists()


def test_a_killed_comparison_goes_on(dataset: Dataset, offline: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(recipe(), Clock(stop=2))
    (folder,) = Path("runs/shapes").iterdir()
    assert not (folder / "compare.json").exists()
    clock = Clock()
    capsys.readouterr()
    resumed = compare(recipe(under_ms=99), clock)
    assert resumed.folder == folder
    assert len(clock.timed) == 2
    out = capsys.readouterr().out
    assert out.startswith(f"resuming {folder}: 5 entries\n")
    assert out.count("(from the journal)") == 3
    whole = compare(recipe(under_ms=99), Clock())
    assert whole.folder != folder

    def measurements(comparison: Comparison) -> list[Any]:
        results = comparison.results
        return [(r.entry, r.model_size, r.score and replace(r.score, features=0, head=0, cached=0)) for r in results]

    assert measurements(resumed) == measurements(whole)


def test_other_entries_or_data_begin_anew(dataset: Dataset) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(recipe(backbones=()), Clock(stop=0))
    with pytest.raises(KeyboardInterrupt):
        compare(recipe(backbones=("VGG16",)), Clock(stop=0))
    assert len(list(Path("runs/shapes").iterdir())) == 2


def test_what_looks_for_runs_does_not_take_a_comparison_for_one(dataset: Dataset) -> None:
    settings = recipe(backbones=())
    compare(settings, Clock())
    with pytest.raises(KeyboardInterrupt):
        compare(settings.model_copy(update={"seed": 2}), Clock(stop=0))
    with pytest.raises(RunError, match="no finished run"):
        newest_checkpoint("shapes")
    run = begin(settings, dataset.digest)
    assert not run.resumed
    assert not run.folder.name.startswith("compare")
    run.lock.release()
    # Nor the other way round: a run that was interrupted is no comparison.
    assert compare(settings, Clock()).folder.name.startswith("compare-")


def test_the_command(
    dataset: Dataset, offline: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstand import __main__

    Path("mine.toml").write_text(
        'name = "shapes"\n[source]\nfolder = "photos"\n[backbone]\nname = "MobileNet"\nsize = 32\nweights = "none"\n'
        '[head]\nepochs = 3\n[[variants]]\nname = "bare"\nhead.inner = []\n'
    )
    original = comparisons.compare
    monkeypatch.setattr(comparisons, "compare", lambda settings: original(settings, Clock()))
    monkeypatch.setattr("sys.argv", ["headstand", "compare", "mine.toml", "--backbones", "VGG16,Xception=imagenet"])
    command.run(__main__.main)
    out = capsys.readouterr().out
    assert "backbone   px  variant        val accuracy" in out
    assert "not measured" in out
    assert "\nselected without limits: " in out
    assert "\ntrain it          python train.py mine.toml" in out
    assert "\ntable and plot    runs/shapes/compare-" in out


def test_every_backbone_of_the_default_list_is_known() -> None:
    assert set(networks.recipe().compare.backbones) <= set(backbones.names())

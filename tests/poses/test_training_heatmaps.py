"""The way of heatmaps through the rooms that photos go through."""

from pathlib import Path

import keras
import numpy as np
import pytest

from headstand.errors import HeadstandError
from headstand.evaluation import leakage
from headstand.evaluation.predictions import decoded
from headstand.heads import checkpoint
from headstand.preparation import manifest
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe
from headstand.report import record
from headstand.training import Outcome, train
from tests.poses import heatmaps


def recipe(**sections: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "poses",
            "source": {"kind": "heatmaps", "folder": "source", "groups": r"^(girl\d+)_"},
            "backbone": {"name": "keypoints"},
            "augmentation": {"views": 1, "jitter": 0.5, "joint_dropout": 0.05, "rotation": 10},
            "head": {"inner": [], "epochs": 12, "learning_rate": 0.02},
            **sections,
        }
    )


FEW = {"name": "few", "source": {"kind": "heatmaps", "folder": "few", "groups": r"^(girl\d+)_"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the dataset prepared in it."""
    folder = tmp_path_factory.mktemp("heatmaps")
    heatmaps.folder(folder / "source")
    heatmaps.folder(folder / "few", people=4, frames=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HEADSTAND_CACHE", str(folder / "cache"))
        prepare(recipe())
        prepare(recipe(**FEW))
    return folder


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("HEADSTAND_CACHE", str(home / "cache"))


@pytest.fixture(scope="module")
def outcome(home) -> Outcome:
    """A run over the dataset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("HEADSTAND_CACHE", str(home / "cache"))
        patch.setattr(record, "_draw", lambda folder, context: None)
        return train(recipe(evaluation={"average": "mirror"}))


def test_a_run_ends_in_a_report_and_a_checkpoint_that_takes_heatmaps(outcome):
    # Also averaged over the person and the mirror image.
    assert outcome.report["test_averaged"]["accuracy"] > 0.9
    assert outcome.report["test"]["accuracy"] > 0.9
    assert outcome.report["split_leak"]["photos"] == ()
    about = checkpoint.metadata(outcome.checkpoint)
    assert (about.backbone, about.size, about.labels) == ("keypoints", 64, ("lunging", "raised", "standing"))
    assert about.training_fingerprints == about.evaluation_fingerprints == ()
    page = (outcome.folder / "report.html").read_text()
    assert "keypoints of 17 heatmaps" in page
    # Plain Keras loads it, and its accuracy on the files is that of the report.
    model = keras.models.load_model(outcome.checkpoint, compile=False)
    dataset = manifest.read(Path("data/poses"))
    shown = np.stack([np.load(dataset.folder / photo.path)[0] for photo in dataset.split("test")])
    truth = np.array([dataset.classes.index(photo.class_) for photo in dataset.split("test")])
    accuracy = (np.asarray(model(shown)).argmax(axis=1) == truth).mean()
    assert accuracy == outcome.report["test"]["accuracy"]


def test_a_second_run_takes_all_features_from_the_cache_and_shows_mistakes_as_skeletons(outcome, capsys):
    second = train(recipe(head={"inner": [], "epochs": 1, "learning_rate": 1e-6}, search={"selection": "accuracy"}))
    assert ", 0 computed" in capsys.readouterr().out
    assert second.report["mistakes"]
    assert second.report["mistakes"][0]["photo"].endswith(".npy")
    page = (second.folder / "report.html").read_text()
    assert page.count("<figure>") == len(second.report["mistakes"])
    assert "where it looked" not in page


@pytest.mark.parametrize("name", ["heatmaps_flat", "heatmaps_cnn"])
def test_networks_of_the_earlier_study_are_trained_the_same_way(name):
    outcome = train(recipe(**FEW, backbone={"name": name}, head={"inner": [8], "epochs": 2}, augmentation={}))
    assert outcome.report["test"]["count"] > 0


@pytest.mark.slow
def test_trainable_weights_are_fine_tuned_on_new_views(eager):
    tuned = {"epochs": 1, "batch_size": 16, "ema": 0.0, "learning_rate": 0.001}
    outcome = train(recipe(backbone={"name": "heatmaps_cnn"}, head={"inner": [], "epochs": 1}, finetune=tuned))
    before = train(recipe(backbone={"name": "heatmaps_cnn"}, head={"inner": [], "epochs": 1}))
    name = "convolution_1"
    weights = [
        checkpoint.load(run.checkpoint).get_layer("backbone").get_layer(name).get_weights()[0]
        for run in (outcome, before)
    ]
    assert not np.array_equal(*weights)


def test_a_photo_backbone_refuses_heatmaps_and_a_heatmap_backbone_photos():
    with pytest.raises(HeadstandError, match=r"data/poses holds heatmaps, and MobileNetV2 takes photos: .*keypoints"):
        train(recipe(backbone={"name": "MobileNetV2", "weights": "none", "size": 32}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"finetune": {"epochs": 1}}, "finetune.epochs: the backbone keypoints has no trainable weights"),
        ({"evaluation": {"average": "crops"}}, "heatmaps have no crops"),
        ({"backbone": {"name": "keypoints", "size": 96}}, "size = 96"),
        ({"backbone": {"name": "keypoints", "weights": "imagenet"}}, "weights = 'imagenet'"),
    ],
)
def test_settings_that_heatmaps_do_not_support_are_refused_with_the_recipe(sections, message):
    with pytest.raises(ValueError, match=message):
        recipe(**sections)


def test_a_damaged_file_is_named():
    from headstand.images import ImageError
    from headstand.poses.heatmap_input import HeatmapInput

    dataset = manifest.read(Path("data/poses"))
    photo = dataset.photos[0]
    other = Path("other") / photo.path
    other.parent.mkdir(parents=True)
    other.write_bytes((dataset.folder / photo.path).read_bytes()[:-4])
    with pytest.raises(ImageError, match=rf"{photo.class_}0001\.npy: .* truncated"):
        decoded(Path("other"), [photo], HeatmapInput())


def test_heatmaps_are_not_compared_for_near_duplicates():
    dataset = manifest.read(Path("data/poses"))
    assert leakage.of(dataset, ("train", "test")) == ()

"""Evaluation photos must have no near duplicates among training photos, including those of pretraining."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand import images, recipe
from headstand.evaluation import leakage
from headstand.heads import checkpoint
from headstand.poses.rendered import draw
from headstand.preparation import manifest, near_duplicates
from headstand.preparation.manifest import Dataset
from headstand.preparation.near_duplicates import Signature
from headstand.preparation.prepare import prepare
from headstand.recipe import Backbone, Recipe
from tests.preparation.photos import signature


def drawn(folder: Path, first: int, count: int) -> None:
    """Writes drawn people, which are as similar and as different as photos."""
    for pose in ("tree", "warrior"):
        for index in range(first, first + count):
            path = folder / pose / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(pose, 5, index, 96).image).save(path)


def prepared(name: str, source: Path, disjoint_from: tuple[str, ...] = ()) -> Dataset:
    split = recipe.Split(disjoint_from=disjoint_from)
    prepare(Recipe(name=name, source=recipe.Source(kind="folder", folder=source), split=split))
    return manifest.read(Path("data") / name)


def mirrored(photo: Path, target: Path) -> None:
    pixels = images.decode(photo)[:, ::-1]
    Image.fromarray(pixels).resize((80, 80)).save(target, quality=60)


def signatures(dataset: Dataset, *splits: str) -> list[Signature]:
    return [Signature(text) for text in leakage.of(dataset, splits)]


def test_near_duplicates_of_another_datasets_evaluation_photos_are_not_trained_on(workplace):
    drawn(Path("photos"), 0, 10)
    drawn(Path("more"), 20, 10)
    later = prepared("later", Path("photos"))
    for number, split in enumerate(("validation", "test", "train")):
        mirrored(later.folder / later.split(split)[0].path, Path("more/tree") / f"stolen{number}.jpg")
    earlier = prepared("earlier", Path("more"), disjoint_from=("later",))
    evaluated = signatures(later, "validation", "test")
    assert not near_duplicates.near_duplicates_of_any(
        signatures(earlier, "train", "validation", "test"), evaluated
    ).any()
    # A near duplicate of a training photo may stay: training on the same image twice is no leak.
    assert len(earlier.photos) == 21
    # Without the key there is a leak, which this test would detect.
    leaking = prepared("leaking", Path("more"))
    assert (
        near_duplicates.near_duplicates_of_any(signatures(leaking, "train", "validation", "test"), evaluated).sum() == 2
    )


def test_a_leak_is_reported_with_the_accuracy_without_it(workplace, monkeypatch):
    drawn(Path("photos"), 0, 10)
    dataset = prepared("poses", Path("photos"))
    test = dataset.split("test")
    mirrored(dataset.folder / test[1].path, Path("stolen.jpg"))
    known = checkpoint.ModelMetadata(
        "old",
        ("a", "b"),
        96,
        "MobileNetV2",
        "",
        training_fingerprints=(signature(Path("stolen.jpg").read_bytes()).text,),
    )
    monkeypatch.setattr(checkpoint, "metadata", lambda path: known)
    Path("old.h5").touch()
    right = np.array([True, False, *[True] * (len(test) - 2)])
    leak = leakage.leak(Backbone(weights="old.h5"), dataset, right)
    assert leak.photos == (test[1].path,)
    assert leak.accuracy_without == 1.0
    assert set(leakage.after(Backbone(weights="old.h5"), dataset, ("train",))) == {
        *known.training_fingerprints,
        *leakage.of(dataset, ["train"]),
    }
    assert known.training_fingerprints[0] not in leakage.of(dataset, ["test"])


@pytest.mark.parametrize("weights", ["imagenet", "none", "some.weights.h5"])
def test_weights_without_fingerprints_have_no_known_training_photos(weights):
    assert leakage.before(Backbone(weights=weights)) == ()


def test_a_checkpoint_as_the_network_has_the_fingerprints_of_its_training_photos():
    yoga66 = recipe.HOME / "models/yoga66/yoga66.h5"
    assert leakage.before(Backbone(name=str(yoga66))) == checkpoint.metadata(yoga66).training_fingerprints
    assert leakage.before(Backbone(name="EfficientNetLite0")) == ()


def test_no_evaluation_photo_of_the_shipped_models_was_used_in_pretraining():
    shipped = {name: checkpoint.metadata(recipe.HOME / "models" / name / f"{name}.h5") for name in ("yoga6", "yoga66")}
    evaluated = [Signature(text) for text in shipped["yoga6"].evaluation_fingerprints]
    pretraining = [Signature(text) for text in shipped["yoga66"].training_fingerprints]
    assert len(evaluated) > 600 and len(pretraining) > 2400
    assert not near_duplicates.near_duplicates_of_any(evaluated, pretraining).any()
    # A leak would be detected: one evaluation photo among the pretraining photos is found.
    assert near_duplicates.near_duplicates_of_any(evaluated, [*pretraining, evaluated[7]])[7]

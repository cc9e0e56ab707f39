"""No photo that a figure is taken on may have a near twin in what the model was trained on, pretraining included."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand import images, recipe
from headstand.evaluation import leakage
from headstand.heads import checkpoint
from headstand.poses.rendered import draw
from headstand.prepare import manifest, near_duplicates
from headstand.prepare.manifest import Dataset
from headstand.prepare.near_duplicates import Signature
from headstand.prepare.prepare import prepare
from headstand.recipe import Backbone, Recipe


def drawn(folder: Path, first: int, count: int) -> None:
    """Drawn people: as alike and as different as photos are."""
    for pose in ("tree", "warrior"):
        for index in range(first, first + count):
            path = folder / pose / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(pose, 5, index, 96).image).save(path)


def prepared(name: str, source: Path, keep_apart: tuple[str, ...] = ()) -> Dataset:
    split = recipe.Split(keep_apart=keep_apart)
    prepare(Recipe(name=name, source=recipe.Source(kind="folder", folder=source), split=split))
    return manifest.read(Path("data") / name)


def mirrored(photo: Path, target: Path) -> None:
    pixels = images.decode(photo)[:, ::-1]
    Image.fromarray(pixels).resize((80, 80)).save(target, quality=60)


def signatures(dataset: Dataset, *splits: str) -> list[Signature]:
    return [Signature(text) for text in leakage.of(dataset, splits)]


def test_twins_of_another_recipes_examination_stay_out_of_pretraining(workplace):
    drawn(Path("photos"), 0, 10)
    drawn(Path("more"), 20, 10)
    later = prepared("later", Path("photos"))
    for number, split in enumerate(("validation", "test", "train")):
        mirrored(later.folder / later.split(split)[0].path, Path("more/tree") / f"stolen{number}.jpg")
    earlier = prepared("earlier", Path("more"), keep_apart=("later",))
    examined = signatures(later, "validation", "test")
    assert not near_duplicates.near_duplicates_of_any(
        signatures(earlier, "train", "validation", "test"), examined
    ).any()
    # The twin of a training photo may stay: learning from the same picture twice is no leak.
    assert len(earlier.photos) == 21
    # Without the key the leak is there, and this test would see it.
    careless = prepared("careless", Path("more"))
    assert (
        near_duplicates.near_duplicates_of_any(signatures(careless, "train", "validation", "test"), examined).sum() == 2
    )


def test_a_leak_is_told_with_the_accuracy_without_it(workplace, monkeypatch):
    drawn(Path("photos"), 0, 10)
    dataset = prepared("poses", Path("photos"))
    test = dataset.split("test")
    mirrored(dataset.folder / test[1].path, Path("stolen.jpg"))
    known = checkpoint.ModelMetadata(
        "old", ("a", "b"), 96, "MobileNetV2", "", seen=(Signature.of(images.decode(Path("stolen.jpg"))).text,)
    )
    monkeypatch.setattr(checkpoint, "metadata", lambda path: known)
    Path("old.h5").touch()
    right = np.array([True, False, *[True] * (len(test) - 2)])
    leak = leakage.leak(Backbone(weights="old.h5"), dataset, right)
    assert leak.photos == (test[1].path,)
    assert leak.accuracy_without == 1.0
    assert set(leakage.after(Backbone(weights="old.h5"), dataset, ("train",))) == {
        *known.seen,
        *leakage.of(dataset, ["train"]),
    }
    assert known.seen[0] not in leakage.of(dataset, ["test"])


@pytest.mark.parametrize("weights", ["imagenet", "none", "some.weights.h5"])
def test_weights_that_are_no_checkpoint_have_seen_nothing_of_ours(weights):
    assert leakage.before(Backbone(weights=weights)) == ()


def test_no_photo_that_the_shipped_models_were_examined_on_was_seen_in_pretraining():
    shipped = {name: checkpoint.metadata(recipe.HOME / "models" / name / f"{name}.h5") for name in ("yoga6", "yoga66")}
    examined = [Signature(text) for text in shipped["yoga6"].examined]
    pretraining = [Signature(text) for text in shipped["yoga66"].seen]
    assert len(examined) > 600 and len(pretraining) > 2400
    assert not near_duplicates.near_duplicates_of_any(examined, pretraining).any()
    # And this would have been noticed: one of them among the other's photos is found.
    assert near_duplicates.near_duplicates_of_any(examined, [*pretraining, examined[7]])[7]

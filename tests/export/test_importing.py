import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convert_to_tflite
from headstand import images
from headstand.export.importing import import_model
from headstand.export.photo_samples import PICTURES, PhotoSampleError, generated
from headstand.preparation.manifest import Dataset
from headstand.serve import bundle as bundles
from headstand.serve.classifier import Classifier
from tests import networks, photos
from tests.networks import keras


@pytest.fixture
def model(workplace: Path) -> Path:
    """A foreign classifier, which takes pixels in -1..1 and ends in logits."""
    pixels = keras.Input((networks.SIZE, networks.SIZE, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(pixels)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(pixels, keras.layers.Dense(3)(x))
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.8, weights.shape) for weights in network.get_weights()])
    network.save("Their Model.keras")
    Path("labels.txt").write_text("\n".join(photos.CLASSES) + "\n")
    return Path("Their Model.keras")


def test_a_foreign_model_predicts_as_before(model: Path) -> None:
    messages: list[str] = []
    result = import_model(model, Path("labels.txt"), "xception", log=messages.append)
    assert result.bundle == Path("Their Model.tflite")
    assert "a softmax was added" in messages[0]
    certificate = json.loads(result.certificate.read_text())
    assert (certificate["verdict"], certificate["photos"], certificate["count"]) == ("passed", "generated", PICTURES)
    assert (certificate["accuracy"], certificate["warnings"]) == (None, [])
    assert "accuracy " not in result.summary
    # The labels that came with the model are the same, and stay.
    assert result.labels == Path("labels.txt")
    assert Path("labels.txt").read_text() == "\n".join(photos.CLASSES) + "\n"
    read = bundles.read(result.bundle)
    assert (read.name, read.size, read.labels) == ("their-model", networks.SIZE, photos.CLASSES)
    assert read.metadata["data"] is None
    pixels = np.random.default_rng(1).integers(0, 256, (1, networks.SIZE, networks.SIZE, 3), np.uint8)
    logits = keras.models.load_model(model)(pixels / 127.5 - 1).numpy()[0].astype(float)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert Classifier(result.bundle).probabilities(pixels)[0] == pytest.approx(expected, abs=1e-5)


def test_with_photos_a_model_can_be_quantised(model: Path) -> None:
    dataset: Dataset = photos.prepare(Path("prepared"))
    # All splits: the folder is one of class folders.
    folder = Path("theirs")
    for photo in dataset.photos:
        target = folder / photo.class_ / Path(photo.path).name.replace(".", f"-{photo.split}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((dataset.folder / photo.path).read_bytes())
    result = import_model(model, Path("labels.txt"), "xception", photos=folder, kind="int8", force=True)
    certificate = json.loads(result.certificate.read_text())
    assert (certificate["format"], certificate["photos"]) == ("int8", "last third of theirs")
    assert certificate["choice"]["photos"] == "second third of theirs"
    assert certificate["accuracy"]["trained"] == pytest.approx(certificate["accuracy"]["served"], abs=0.4)


@pytest.fixture
def colours(workplace: Path) -> Path:
    """Photos of one colour each, and a model that names it, from pixels that its first layer scales to -1..1."""
    classes, rng = ("blue", "green", "red"), np.random.default_rng(0)
    for index, label in enumerate(classes):
        for number in range(24):
            pixels = rng.integers(0, 60, (networks.SIZE, networks.SIZE, 3))
            pixels[..., 2 - index] += rng.integers(60, 120)
            path = Path("photos") / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    pixels = keras.Input((networks.SIZE, networks.SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(keras.layers.Rescaling(1.0, 0.8)(x)))
    head = keras.layers.Dense(3, "softmax", use_bias=False)
    model = keras.Model(pixels, head(x))
    head.set_weights([np.eye(3)[::-1] * 20])
    model.save("colours.keras")
    Path("names.txt").write_text("\n".join(classes))
    return Path("colours.keras")


def test_the_accuracy_on_labelled_photos_is_recorded(colours: Path) -> None:
    result = import_model(colours, Path("names.txt"), "none", photos=Path("photos"))
    certificate = json.loads(result.certificate.read_text())
    assert (certificate["accuracy"]["trained"], certificate["accuracy"]["served"]) == (1, 1)
    assert certificate["warnings"] == []
    assert "accuracy   1.0000 on these photos, 1.0000 before conversion\n" in result.summary
    assert result.labels == Path("labels.txt")
    assert Path("labels.txt").read_text() == "blue\ngreen\nred\n"


def test_labels_in_the_wrong_order_are_reported(colours: Path) -> None:
    Path("names.txt").write_text("red\nblue\ngreen")
    result = import_model(colours, Path("names.txt"), "none", photos=Path("photos"))
    certificate = json.loads(result.certificate.read_text())
    assert (certificate["verdict"], certificate["accuracy"]["served"]) == ("passed", 0)
    (warning,) = certificate["warnings"]
    assert warning.startswith("the accuracy is 0.000, and 1.000 if the labels were in another order: it predicts ")
    assert f"warning    {warning}\n" in result.summary
    assert bundles.read(result.bundle).metadata["certificate"]["warnings"] == [warning]


def test_preprocessing_that_is_applied_twice_is_reported(colours: Path) -> None:
    result = import_model(colours, Path("names.txt"), "xception", photos=Path("photos"))
    certificate = json.loads(result.certificate.read_text())
    assert (certificate["verdict"], certificate["accuracy"]["served"] < 0.5) == ("passed", True)
    (warning,) = certificate["warnings"]
    assert "and 1.000 with --preprocess none: the model seems to scale its pixels itself" in warning


def test_other_labels_in_the_folder_are_kept(colours: Path) -> None:
    Path("labels.txt").write_text("0 blue\n1 green\n2 red\n")
    result = import_model(colours, Path("labels.txt"), "none")
    assert result.labels == Path("colours.labels.txt")
    assert Path("labels.txt").read_text() == "0 blue\n1 green\n2 red\n"
    assert result.labels.read_text() == "blue\ngreen\nred\n"


def test_without_photos_quantisation_is_refused(model: Path) -> None:
    with pytest.raises(PhotoSampleError, match=r"--format best is chosen .* --photos FOLDER, or use --format float32"):
        import_model(model, Path("labels.txt"), "xception", kind="best")
    assert sorted(path.name for path in Path().iterdir()) == ["Their Model.keras", "labels.txt"]


def test_generated_images_are_deterministic(tmp_path: Path) -> None:
    sample = generated(tmp_path, 40).certifying
    assert len(sample.paths) == len({path.read_bytes() for path in sample.paths}) == PICTURES
    first = [images.decode(path, 40) for path in sample.paths]
    assert all(pixels.std() > 5 for pixels in first)
    again = [images.decode(path, 40) for path in generated(tmp_path, 40).certifying.paths]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_the_command_imports_a_foreign_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert_to_tflite.main([str(model), "--labels", "labels.txt", "--preprocess", "xception"])
    assert Classifier("Their Model.tflite").bundle.labels == photos.CLASSES
    assert "serve it   HEADSTAND_MODEL='Their Model.tflite'" in capsys.readouterr().out

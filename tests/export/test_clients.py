"""Other programs than ours use the bundle, as docs/formats.md shows."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstand import images
from headstand.export.exporting import export
from headstand.serve import bundle as bundles
from headstand.serve.classifier import Classifier
from tests import networks

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture(scope="module", params=["float32", "int8"])
def result(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle in a folder with the data that it was made from."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (path,) = folder.glob("runs/shapes/*/shapes_*.h5")
        return export(path.relative_to(folder), request.param).bundle.absolute()


def script(number: int) -> str:
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[number]


def run(code: str, folder: Path, *argv: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_of_a_course_gives_the_expected_prediction(result: Path, tmp_path: Path) -> None:
    """A photo of the model's input size is not resized, so the probabilities are the same."""
    pixels = np.random.default_rng(3).integers(0, 256, (networks.SIZE, networks.SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    shutil.copy(result, tmp_path / "yoga6.tflite")
    code = script(0).replace("(224, 224)", str((networks.SIZE,) * 2)).replace("photo.jpg", "photo.png")
    if bundles.read(result).metadata["input"]["dtype"] == "uint8":
        code = code.replace("lambda x: x,", 'lambda x: x.astype("uint8"),')
    given = [float(number) for number in re.findall(r"[\d.]+(?:e-?\d+)?", run(code, tmp_path))]
    expected = Classifier(result).predict(tmp_path / "photo.png").probabilities
    assert given == pytest.approx([expected[label] for label in bundles.read(result).labels], abs=1e-6)


def test_example_code_needs_only_the_file(result: Path) -> None:
    photo = next(result.parents[3].glob("data/shapes/test/*/*.jpg"))
    answer = Classifier(result).predict(photo)
    lines = run(script(1), result.parent, str(result), str(photo)).splitlines()
    assert [line.split()[0] for line in lines[:3]] == list(answer.probabilities)
    assert [float(line.split()[1]) for line in lines[:3]] == pytest.approx([*answer.probabilities.values()], abs=1e-4)
    doubts = [] if answer.confident else ["not sure"]
    assert answer.known is not None
    assert lines[3:] == doubts + ([] if answer.known else ["unlike the training photos"])


MEDIAPIPE = """
import json, sys
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]), max_results=-1)
with vision.ImageClassifier.create_from_options(options) as classifier:
    for pixels in np.load(sys.argv[2]):
        found, _ = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)).classifications
        print(json.dumps({each.category_name: each.score for each in found.categories}))
"""


@pytest.mark.slow
def test_mediapipe_gives_the_same_probabilities(result: Path, tmp_path: Path) -> None:
    """In a separate process, because MediaPipe has its own runtime and writes to stderr."""
    pytest.importorskip("mediapipe", reason="`make setup-dev` installs MediaPipe", exc_type=ImportError)
    dataset: list[Path] = sorted(result.parents[3].glob("data/shapes/test/*/*"))
    np.save(tmp_path / "pixels.npy", np.stack([images.decode(path, networks.SIZE) for path in dataset]))
    answers: list[dict[str, Any]] = [
        json.loads(line) for line in run(MEDIAPIPE, tmp_path, str(result), str(tmp_path / "pixels.npy")).splitlines()
    ]
    classifier = Classifier(result)
    assert len(answers) == len(dataset) == 12
    for path, probabilities in zip(dataset, answers, strict=True):
        expected = classifier.predict(path).probabilities
        assert probabilities == pytest.approx(expected, abs=1e-6)
        assert max(probabilities, key=probabilities.__getitem__) == next(iter(expected))

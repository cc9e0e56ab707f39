"""Python API: `headstand.prepare`, `train`, `load`, `evaluate` and `convert`.

    import headstand

    result = headstand.train("photos", minutes=10)
    headstand.load(result.bundle).predict("photo.jpg").label

Notebooks display the results as tables and text.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from headstand.cli import models
from headstand.serve.classifier import Classifier, Prediction
from headstand.serve.download import fetch

if TYPE_CHECKING:
    import numpy as np

    from headstand.cli.train import Trained
    from headstand.evaluation.evaluate_model import EvaluationResult
    from headstand.export.exporting import Export
    from headstand.preparation.summary import Summary


class Model:
    """A converted model, ready for predictions; any number of threads may use it.

    Attributes:
        labels: the classes, in the order of the model's outputs.
    """

    def __init__(self, path: Path) -> None:
        self._classifier = Classifier(path)
        self.labels = tuple(self._classifier.bundle.labels)

    def predict(self, image: "str | Path | bytes | Image.Image | np.ndarray") -> Prediction:
        """Classifies an image.

        Args:
            image: a file, an http(s) URL, the bytes of a file, a Pillow image, or pixels `uint8 [height, width, 3]`.

        Raises:
            ImageError: the image cannot be decoded.
            DownloadError: the URL is not allowed or cannot be downloaded.
        """
        return self._classifier.predict(_encoded(image))

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.bundle.path)!r}, {len(self.labels)} classes)"


def prepare(photos: str | Path, recipe: str = "photos", **keys: Any) -> "Summary":
    """Checks photos, divides them into train, validation and test, and plots them, as `headstand explore`.

    Args:
        photos: a folder with one subfolder per class, a zip or tar of one, a URL of either, or a CSV table.
        recipe: name or file of the recipe whose settings are used.
        keys: changed keys of the recipe, as for `train`.

    Raises:
        HeadstandError: the photos or the keys cannot be used.
    """
    from headstand.cli.train import prepare_and_check, resolved

    summary, wrong = prepare_and_check(resolved(str(photos), recipe, _overrides(keys)))
    if wrong:
        print(f"warning: {wrong}")
    return summary


def train(photos: str | Path, minutes: float | None = None, recipe: str = "photos", **keys: Any) -> "Trained":
    """Prepares photos, trains a model on them and converts it, as the command `headstand train`.

    Args:
        photos: a folder with one subfolder per class, a zip or tar of one, a URL of either, or a CSV table.
        minutes: time for everything; by default that of the recipe, 10.
        recipe: name or file of the recipe whose settings are used.
        keys: changed keys of the recipe: `seed=2`, or a section as a dictionary: `head={"dropout": 0.2}`.

    Raises:
        HeadstandError: the photos or the keys cannot be used.
    """
    from headstand.cli.train import trained

    changed = keys if minutes is None else {**keys, "minutes": minutes}
    return trained(str(photos), recipe, _overrides(changed))


def load(model: str | Path | None = None) -> Model:
    """Loads a converted model.

    Args:
        model: a `.tflite`, or the folder of a run; by default the newest below `runs/`, else the one of six yoga poses
            that comes with Headstand.

    Raises:
        HeadstandError: there is no such model, or it is damaged.
    """
    return Model(models.found(None if model is None else str(model)))


def evaluate(model: str | Path, folder: str | Path | None = None, split: str | None = None) -> "EvaluationResult":
    """Returns the metrics of a model on a split of its prepared dataset, or on other photos.

    Args:
        model: a `.h5` or `.tflite`.
        folder: other photos, with one subfolder per class.
        split: split of the prepared dataset, by default test; with `folder`, of that folder.

    Raises:
        HeadstandError: model or photos do not exist or do not fit each other.
    """
    from headstand.cli.evaluate import evaluated

    return evaluated(str(model), split, Path(folder) if folder else None)


def convert(checkpoint: str | Path, kind: str = "best", **options: Any) -> "Export":
    """Converts a trained model to the file that is served and writes it next to it, if it predicts the same.

    Args:
        checkpoint: the `.h5`, or the folder of a run.
        kind: best, float32, float16, dynamic, int8 or onnx.
        options: further arguments of `headstand.export.exporting.convert`.

    Raises:
        HeadstandError: there is no such model, or the conversion does not pass.
    """
    import headstand.tensorflow_setup  # noqa: F401 - before TensorFlow

    # isort: split
    from headstand.export.exporting import export
    from headstand.runs import checkpoint_in

    path = Path(checkpoint)
    return export(checkpoint_in(path) if path.is_dir() else path, kind, **options)


def _overrides(keys: Mapping[str, Any], prefix: str = "--") -> list[str]:
    """Returns recipe keys as command-line arguments: options, each followed by its value."""
    found: list[str] = []
    for key, value in keys.items():
        if isinstance(value, Mapping):
            found += _overrides(value, f"{prefix}{key}.")
        else:
            found += [f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)]
    return found


def _encoded(image: "str | Path | bytes | Image.Image | np.ndarray") -> bytes | Path:
    """Returns the bytes or the path of an image."""
    if isinstance(image, bytes | Path):
        return image
    if isinstance(image, str):
        return fetch(image) if image.startswith(("http://", "https://")) else Path(image)
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, "PNG")
    return stream.getvalue()

"""Export: a checkpoint in, a bundle out that was seen to answer the same."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf

from headstand import __version__, images
from headstand.errors import HeadstandError
from headstand.export import bundle, convert, metadata
from headstand.export.parity import Parity, compare, require
from headstand.learn import checkpoint
from headstand.learn.checkpoint import About
from headstand.learn.features import compiled
from headstand.prepare import manifest
from headstand.quiet import quiet
from headstand.serve.bundle import LABELS
from headstand.serve.classifier import Classifier


class ExportError(HeadstandError):
    """A checkpoint that cannot be exported as things stand."""


@dataclass(frozen=True)
class Export:
    """The bundle that was written, and how it compares to its checkpoint."""

    bundle: Path
    parity: Parity
    size: int
    """The bundle's bytes."""


def export(path: Path) -> Export:
    """Convert a checkpoint to float32 and write the bundle beside it, if it answers alike on the test photos.

    Raises:
        HeadstandError: the file is no Headstand checkpoint, its data is not prepared here, the conversion fails, or
            the parity check does; nothing is written then.
    """
    about = checkpoint.about(path)
    paths = _test_photos(about)
    model = checkpoint.load(path)
    record = {
        "name": about.name,
        "input": {
            "size": about.size,
            "dtype": "float32",
            "range": [0, 255],
            "resize": "squash to a square, bilinear with antialiasing",
            "decoder": images.DECODER,
        },
        "temperature": about.temperature,
        "threshold": about.threshold,
        "checkpoint": hashlib.sha256(path.read_bytes()).hexdigest(),
        "data": about.data,
        "versions": {
            "headstand": __version__,
            **{package: version(package) for package in ("tensorflow", "keras", "ai-edge-litert")},
        },
    }
    flatbuffer = metadata.describe(convert.float32(model), about.name, LABELS)
    with tempfile.TemporaryDirectory() as folder:
        # The parity check reads a real file, as the services will.
        trial = bundle.write(Path(folder) / "trial.tflite", bundle.pack(flatbuffer, about.labels, record))
        with quiet():  # LiteRT tells which delegate it made
            served = Classifier(trial)
        parity = compare(_trained(compiled(model)), served, paths, about.labels)
    require(parity)
    summary = {key: value for key, value in asdict(parity).items() if key not in ("worst", "disagreeing")}
    data = bundle.pack(flatbuffer, about.labels, {**record, "parity": {"format": "float32", **summary}})
    return Export(bundle.write(path.with_suffix(".tflite"), data), parity, len(data))


def _test_photos(about: About) -> list[Path]:
    """The files of the test split that the checkpoint was made with."""
    dataset = manifest.read(Path("data") / about.name)
    if dataset.digest != about.data or dataset.classes != about.labels:
        raise ExportError(
            f"{dataset.folder} is not the data that this model was trained on (its manifest has changed); "
            f"prepare it as it was, or train again with `python train.py {about.name}`"
        )
    return [dataset.folder / photo.path for photo in dataset.split("test")]


def _trained(call: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.asarray(call(tf.constant(pixels)))

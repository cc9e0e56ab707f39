"""Converts a foreign Keras classifier to a bundle and writes it if it gives the same predictions."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstand import files
from headstand.export import foreign, photo_samples
from headstand.export import labels as label_files
from headstand.export.acceptance import LIMITS
from headstand.export.candidates import Log
from headstand.export.exporting import Export, convert
from headstand.export.photo_samples import ParitySamples, PhotoSample, PhotoSampleError
from headstand.export.trained import TrainedModel
from headstand.heads.checkpoint import ModelMetadata
from headstand.recipe.sections import Preprocessing

PICTURES = 48
"""Number of generated pictures for the comparison without photos."""


def import_model(
    path: Path,
    labels: Path,
    preprocess: Preprocessing,
    size: int | None = None,
    photos: Path | None = None,
    kind: str = "float32",
    log: Log = lambda line: None,
    **options: Any,
) -> Export:
    """Converts a foreign model and writes the bundle next to it.

    Args:
        path: an `.h5` or `.keras` file.
        labels: a file with its class names.
        preprocess: scaling of pixels before the model, see `headstand.export.foreign.load`.
        size: input side in pixels, if the model does not fix it.
        photos: a folder as for `headstand.export.photo_samples.folder`. Without it, generated pictures are compared:
            enough to verify the conversion, but not to measure the effect of quantization.
        kind: see `headstand.export.exporting.convert`.
        log: called with one line of progress per step.
        options: further arguments of `headstand.export.exporting.convert`.

    Raises:
        HeadstandError: the model is not supported, the conversion fails, or it does not pass; nothing is written then.
    """
    if photos is None and kind not in LIMITS:
        raise PhotoSampleError(
            f"--format {kind} is chosen and checked with photos, and none are given: name a folder with --photos "
            f"FOLDER, or use --format {' or '.join(LIMITS)}"
        )
    found = foreign.load(path, label_files.read(labels), preprocess, size)
    for note in found.notes:
        log(note)
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-") or "model"
    about = ModelMetadata(name, found.labels, found.size, backbone="", data="")
    model = TrainedModel(found.model, about, files.digest(path))
    others: dict[str, Any] = {
        mode: foreign.with_preprocessing(found.network, found.size, mode)
        for mode in foreign.PREPROCESSING
        if mode != preprocess
    }
    with tempfile.TemporaryDirectory() as folder:
        samples = photo_samples.folder(photos, found.labels) if photos else generated(Path(folder), found.size)
        return convert(model, samples, path.with_suffix(".tflite"), kind, log=log, others=others, **options)


def generated(folder: Path, size: int) -> ParitySamples:
    """Returns generated pictures of soft coloured patches, from coarse to fine, the same ones each time.

    Args:
        folder: where the pictures are written.
        size: input side of the model in pixels.
    """
    rng = np.random.default_rng(0)
    paths = []
    for number in range(PICTURES):
        coarse = rng.integers(0, 256, (2 + number % 24, 2 + number % 24, 3), np.uint8)
        paths.append(folder / f"picture{number:02d}.png")
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    sample = PhotoSample("generated", tuple(paths), None)
    return ParitySamples(sample, sample, sample)

"""Import: a foreign classifier in, a bundle out that was measured to answer the same."""

import hashlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstand.export import evidence, foreign
from headstand.export import labels as label_files
from headstand.export.evidence import Evidence, EvidenceError, Sample
from headstand.export.exporting import Export, convert
from headstand.export.formats import LIMITS
from headstand.export.trained import Trained

PICTURES = 48
"""Pictures that a model is compared on where there are no photos."""


def bring(
    path: Path,
    labels: Path,
    preprocess: str,
    size: int | None = None,
    photos: Path | None = None,
    kind: str = "float32",
    tell: Callable[[str], None] = lambda text: None,
    **how: Any,
) -> Export:
    """Convert a foreign model; the bundle is written beside it.

    Args:
        path: an `.h5` or `.keras` file.
        labels: a file with its labels.
        preprocess: what is done to pixels before they go in, as `headstand.export.foreign.load`.
        size: side of its input in pixels, where the model leaves it open.
        photos: a folder as `headstand.export.evidence.folder`; without it the model is compared on drawn pictures,
            which is enough to see that nothing was lost, and not to see what quantisation costs.
        kind: as `headstand.export.exporting.convert`.
        tell: is given a line for each step.
        how: as `headstand.export.exporting.convert`.

    Raises:
        HeadstandError: the model cannot be taken, the conversion fails, or it does not pass; nothing is written then.
    """
    if photos is None and kind not in LIMITS:
        raise EvidenceError(
            f"--format {kind} is chosen and checked by photos, and there are none; name a folder with --photos FOLDER, "
            f"or take --format {' or '.join(LIMITS)}"
        )
    found = foreign.load(path, label_files.read(labels), preprocess, size)
    for note in found.notes:
        tell(note)
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-") or "model"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = Trained(found.model, name, found.labels, found.size, digest)
    with tempfile.TemporaryDirectory() as folder:
        judged = evidence.folder(photos, found.labels) if photos else drawn(Path(folder), found.size)
        others = {
            mode: foreign.with_preprocessing(found.network, found.size, mode)
            for mode in foreign.MODES
            if mode != preprocess
        }
        return convert(model, judged, path.with_suffix(".tflite"), kind, tell=tell, others=others, **how)


def drawn(folder: Path, size: int) -> Evidence:
    """Pictures of soft coloured patches, from flat to busy, always the same ones.

    Args:
        folder: where they are written.
        size: side of the model's input in pixels.
    """
    rng = np.random.default_rng(0)
    paths = []
    for number in range(PICTURES):
        coarse = rng.integers(0, 256, (2 + number % 24, 2 + number % 24, 3), np.uint8)
        paths.append(folder / f"picture{number:02d}.png")
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    sample = Sample("drawn", tuple(paths), None)
    return Evidence(sample, sample, sample)

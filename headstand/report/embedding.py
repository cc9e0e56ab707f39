"""Images embedded in HTML pages as data URIs: plots of a folder, and photos of wrong predictions with Grad-CAM."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from headstand.evaluation.grad_cam import grad_cam
from headstand.html_layout import data_uri
from headstand.inputs import InputKind

SIDE = 176
"""Side of an embedded photo, in pixels."""

WIDE = 720
"""Width of a plot, in pixels, above which it scrolls on a narrow screen instead of shrinking until it is unreadable."""


def plots(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the PNG files of a folder by name without extension: `source`, a data URI, and `wide`, a boolean."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as opened:
            found[path.stem] = {"source": data_uri("png", path.read_bytes()), "wide": opened.width > WIDE}
    return found


def mistake_images(
    folder: Path,
    mistakes: Sequence[Mapping[str, Any]],
    kind: InputKind,
    labels: Sequence[str],
    model: keras.Model | None,
) -> list[dict[str, str]]:
    """Returns data URIs for each mistake: `photo` and, if there is a model, `areas`, the photo lit by Grad-CAM.

    Args:
        folder: folder that the paths of the photos are relative to.
        mistakes: `Mistake`s as dictionaries, with the path of the photo as `photo`.
        kind: input of the model; Grad-CAM is for photos only.
        labels: class names in output order.
        model: model of a checkpoint; None for a bundle.
    """
    shown = [kind.picture(kind.decode(folder / one["photo"])) for one in mistakes]
    found = [{"photo": _thumbnail(pixels)} for pixels in shown]
    if model is not None and kind.kind == "photos" and mistakes:
        predicted = np.array([labels.index(one["answer"]) for one in mistakes])
        for one, pixels, heat in zip(found, shown, grad_cam(model, np.stack(shown), predicted), strict=True):
            one["areas"] = _thumbnail((pixels * (0.25 + 0.75 * heat[..., None])).astype(np.uint8))
    return found


def _thumbnail(pixels: np.ndarray) -> str:
    """Returns an image `uint8 [height, width, 3]` as a JPEG of `SIDE` x `SIDE` pixels in a data URI."""
    data = BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(data, "JPEG", quality=80)
    return data_uri("jpeg", data.getvalue())

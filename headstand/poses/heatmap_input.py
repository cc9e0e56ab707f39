"""Input kind `heatmaps`: the pose heatmaps of one person, with their backbones and the error codes of their decoder.

`headstand.inputs` registers it, and other packages use only that registry. Modules that need Keras or the preparation
of datasets are imported on demand, so that the services start without them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstand.poses import heatmap_file

if TYPE_CHECKING:
    import keras

    from headstand.preparation.file_metadata import FileMetadata
    from headstand.recipe import Augmentation

_BACKBONES = {"keypoints": "4", "heatmaps_flat": "", "heatmaps_cnn": ""}
"""Version of the features by backbone; a new value for `keypoints` invalidates all cached features."""

_TEXTS = {
    "title": "what does the person do?",
    "heading": "Show it a person’s heatmaps",
    "thing": "file",
    "choose": "Choose a file",
    "drop": "Drop a .npy file here",
    "tap": "Tap to choose a .npy file",
    "takes": "A NumPy file of float32 [1, 17, 64, 48]",
    "samples": "No heatmaps at hand? Try one of these",
    "accept": ".npy",
}

_ERRORS = {
    "not_heatmaps": (415, "The data is not the heatmaps of one person"),
    "corrupt_heatmaps": (422, "The heatmaps are damaged"),
}


@dataclass(frozen=True)
class HeatmapInput:
    """Input of one person's pose heatmaps: `float32 [17, 64, 48]`.

    The attributes and methods that `headstand.inputs.PhotoInput` has too mean the same here.

    Attributes:
        backbones: names of the backbones that take heatmaps, with the version of their features, which is part of the
            key of the feature cache; empty for networks that their weights identify.
        errors: status and title of the services' responses, by error code of the decoder.
    """

    kind = "heatmaps"
    shape = heatmap_file.SHAPE
    size = heatmap_file.HEIGHT
    dtype = np.float32
    decoder = f"heatmaps {heatmap_file.DECODER}"
    description = "17 heatmaps of 64 x 48"
    details = f"a person's heatmaps (float32 {[1, *shape]}, of {', '.join(heatmap_file.JOINTS)}) as `.npy` or JSON"
    suffixes = (".npy",)
    texts = _TEXTS
    backbones = _BACKBONES
    errors = _ERRORS

    def read(self, path: Path) -> bytes:
        return heatmap_file.read(path)

    def decode(self, source: bytes | Path) -> np.ndarray:
        return heatmap_file.decode(source)

    def examples(self, formats: Sequence[str] = ()) -> Iterator[bytes]:
        yield heatmap_file.encode(np.zeros(heatmap_file.SHAPE, np.float32))

    def metadata(self, dtype: str) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "size": self.size,
            "shape": list(self.shape),
            "dtype": dtype,
            "joints": list(heatmap_file.JOINTS),
            "decoder": self.decoder,
        }

    def mirror(self, batch: np.ndarray) -> np.ndarray:
        from headstand.poses import heatmap_augmentation

        return heatmap_augmentation.mirror(batch)

    def picture(self, decoded: np.ndarray) -> np.ndarray:
        from headstand.poses import skeleton_plot

        return skeleton_plot.draw_skeleton(decoded)

    def encode(self, values: Any) -> bytes:
        """Returns an encoded file of the nested lists of a JSON request; see `heatmap_file.encode`."""
        return heatmap_file.encode(values)

    def augment(self, decoded: np.ndarray, settings: "Augmentation", rng: "np.random.Generator") -> np.ndarray:
        """Returns a random view of decoded heatmaps; see `augmentation.view`."""
        from headstand.poses import heatmap_augmentation

        return heatmap_augmentation.view(decoded, settings, rng)

    def examine(self, path: Path) -> "FileMetadata":
        """Returns the metadata of a file for the preparation; see `heatmap_source.examine`."""
        from headstand.poses import heatmap_source

        return heatmap_source.examine(path)

    def network(self, name: str) -> "keras.Model":
        """Returns a new network, one of `backbones`, from `shape` to a feature vector."""
        from headstand.poses import keypoints, networks

        builders = {
            "keypoints": keypoints.network,
            "heatmaps_flat": networks.flat,
            "heatmaps_cnn": networks.convolutional,
        }
        return builders[name]()

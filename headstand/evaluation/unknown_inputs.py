"""Detection of unknown inputs: how similar the features of an image are to those of the training photos.

The score is the largest cosine similarity of the features to a prototype, the mean of a k-means cluster of one class's
training photos. With one prototype per photo it is that of Sun et al. 2022, "Out-of-distribution detection with deep
nearest neighbors" (ICML). `benchmarks/unknown.py` measures it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from headstand.heads import applied, checkpoint, model_layers
from headstand.heads.checkpoint import CheckpointError
from headstand.stats import wilson

ACCEPTED = 0.95
"""Share of the validation photos that the threshold accepts as known."""

PER_CLASS = 2
"""Prototypes of a class. More of them describe the training photos better than other photos of the same classes."""

_DATASET = "known_inputs"
"""Name of the HDF5 dataset in a checkpoint: the rows center and prototypes."""

_CHUNK = 1024
"""Rows scored at a time, so that memory does not grow with the number of rows."""


@dataclass(frozen=True)
class Detector:
    """Score and threshold for unknown inputs.

    Attributes:
        center: subtracted from the features, `float32 [D]`.
        prototypes: vectors of unit length, `float32 [K, D]`.
        threshold: the lowest similarity of a known input.
    """

    center: np.ndarray
    prototypes: np.ndarray
    threshold: float = -1.0

    def network(self) -> keras.Model:
        """Returns a model of built-in layers from features, `float32 [N, D]`, to similarities, `float32 [N, 1]`."""
        features = keras.Input(self.center.shape, name="features")
        x = keras.layers.Rescaling(1.0, (-self.center).tolist(), name="centered")(features)
        x = keras.layers.UnitNormalization(name="unit_length")(x)
        cosines = keras.layers.Dense(len(self.prototypes), use_bias=False, name="cosines")
        x = keras.layers.Reshape((-1, 1), name="column")(cosines(x))
        cosines.set_weights([self.prototypes.T])
        return keras.Model(features, keras.layers.GlobalMaxPooling1D(name="similarity")(x), name="similarity")

    def similarities(self, features: np.ndarray) -> np.ndarray:
        """Returns the score of each row of `features`, `float32 [N, D]`: `float32 [N]`, at most 1."""
        score = self.network()
        chunks = (features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK))
        return np.concatenate([score(np.asarray(chunk)).numpy()[:, 0] for chunk in chunks])


def fit(features: np.ndarray, labels: np.ndarray, seed: int, centered: bool) -> Detector:
    """Returns a detector without a threshold, fitted to training photos.

    Args:
        features: `float32 [N, D]`.
        labels: class indices, `int [N]`.
        seed: seed of the k-means clusters.
        centered: subtract the mean of the features, for a frozen backbone: what all its features have in common would
            dominate the cosine. After fine-tuning, unrelated images are detected better without.
    """
    center = features.mean(axis=0) if centered else np.zeros(features.shape[1])
    prototypes = []
    # With one thread the sums, and so the clusters, do not depend on the number of cores.
    with threadpool_limits(1):
        for label in np.unique(labels):
            rows = _unit(features[labels == label] - center)
            count = min(PER_CLASS, len(np.unique(rows, axis=0)))
            prototypes.append(_unit(KMeans(count, n_init=1, random_state=seed).fit(rows).cluster_centers_))
    return Detector(center.astype(np.float32), np.concatenate(prototypes).astype(np.float32))


def threshold(similarities: np.ndarray) -> float:
    """Returns the largest similarity that at least the share `ACCEPTED` of validation photos, `[N]`, reaches."""
    return float(np.quantile(similarities, 1 - ACCEPTED, method="lower"))


def accepted(similarities: np.ndarray, threshold: float) -> dict[str, Any]:
    """Returns count, share and 95 % interval of the photos whose similarity, `[N]`, reaches the threshold."""
    count = int((similarities >= threshold).sum())
    low, high = wilson(count, len(similarities))
    return {"count": len(similarities), "share": count / len(similarities), "interval": [low, high]}


def record(threshold: float, similarities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns threshold and accepted photos, by name of their sample, as a JSON-compatible record."""
    shares = {name: accepted(values, threshold) for name, values in similarities.items()}
    return {"value": threshold, "accepted": shares}


def described(known: Mapping[str, Any]) -> str:
    """Returns sentences that state the threshold and the shares of the photos that it accepts.

    Args:
        known: as returned by `record`.
    """
    shares = []
    for name, found in known["accepted"].items():
        low, high = found["interval"]
        shares.append(f"{found['share']:.0%} of {found['count']} {name} photos ({low:.0%} to {high:.0%})")
    return (
        f"An input whose similarity to the training photos is below {known['value']:.3f} is reported as unknown. "
        f"Accepted as known: {', '.join(shares)}."
    )


def save(path: Path, detector: Detector) -> None:
    """Saves a detector in a checkpoint atomically.

    Raises:
        CheckpointError: the file cannot be written.
    """
    rows = np.stack([detector.center, *detector.prototypes])
    checkpoint.save_array(path, _DATASET, rows, detector.threshold)


def load(path: Path) -> Detector | None:
    """Returns the detector in a checkpoint; None if it has none.

    Raises:
        CheckpointError: it is damaged.
    """
    found = checkpoint.array(path, _DATASET)
    if found is None:
        return None
    rows, lowest = found
    if len(rows) < 2:
        raise CheckpointError(f"{path} is damaged ({_DATASET!r} has {len(rows)} rows); train again")
    return Detector(rows[0], rows[1:], lowest)


def with_features(model: keras.Model) -> keras.Model:
    """Returns a checkpoint's model with two outputs: probabilities, and the input of its head, `float32 [N, D]`."""
    scaling, backbone, pooling, head = model_layers(model)
    images = keras.Input(model.input.shape[1:], name=model.input.name)
    features = applied([*scaling, backbone, *pooling], images)
    return keras.Model(images, [applied(head, features), features], name=model.name)


def feature_scale(model: keras.Model) -> np.ndarray | float:
    """Returns the factors by which a checkpoint's features differ from the extractor's; see `backbones.balanced`."""
    network = model.get_layer("backbone")
    layers = [layer for layer in getattr(network, "layers", ()) if layer.name.startswith("rescale_")]
    return np.concatenate([np.full(layer.output.shape[-1], layer.scale) for layer in layers]) if layers else 1.0


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit

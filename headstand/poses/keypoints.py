"""Backbone `keypoints`: posture features from 17 heatmaps, invariant to the position and size of the person.

The joints are located in the heatmaps, centred on the hips and scaled by the torso, which makes people comparable.
Further features are the limbs' directions and lengths and the angles between limbs. All layers are built into Keras and
TFLite and have fixed weights, so an `.h5` model loads wherever Keras is installed, and a client sends raw heatmaps.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from headstand.poses.heatmap_file import HEIGHT, JOINTS, SHAPE, WIDTH

SHARPNESS = 17.0
"""Height of a typical peak before the softmax over the pixels.

A ViTPose peak has a standard deviation of 2 pixels. The softmax reduces it to 2 / sqrt(17) = 0.5 pixels. That is narrow
enough to ignore everything but the peak (the 3,072 background pixels have 1/10,000 of its weight), and wide enough for
subpixel positions.
"""

UNSEEN, SEEN = 0.05, 0.25
"""Peak heights: a joint has visibility 0 up to the first and 1 from the second on, with a linear ramp between."""

SPREAD = 0.25
"""Weight of the joints' mean squared distance from the hips in the squared body scale.

It is added to the squared torso length, because a torso seen end-on has almost no length.
"""

SHORT = 0.1
"""Limb length in body scales below which the direction fades to 0: the direction of a point is noise."""

TIMES = {"x": 1.7, "y": 1.7, "seen": 4.0, "right": 1.8, "down": 1.8, "length": 4.0, "cosine": 2.0, "sine": 2.0}
"""Factor of each kind of feature, in the order of the output.

The factors give each kind a standard deviation of about 1 over people, since a head learns fastest from features
that vary most.
"""

_FLOOR = 1e-4
"""Added to all pixels; smaller than the noise of a network's heatmaps."""

_LEAST = 0.02
"""Smallest body scale, as a fraction of the map height."""

_MIDDLES = {"hips": ("left_hip", "right_hip"), "shoulders": ("left_shoulder", "right_shoulder")}

_OF_A_SIDE = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"),
    ("shoulder", "wrist"), ("hip", "ankle"), ("wrist", "ankle"),
)  # fmt: skip

LIMBS = (
    ("hips", "shoulders"), ("shoulders", "nose"), ("left_ear", "right_ear"), ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    *((f"{side}_{one}", f"{side}_{other}") for side in ("left", "right") for one, other in _OF_A_SIDE),
    *((f"left_{joint}", f"right_{joint}") for joint in ("wrist", "elbow", "knee", "ankle")),
    ("nose", "left_wrist"), ("nose", "right_wrist"), ("left_knee", "right_ankle"), ("right_knee", "left_ankle"),
)  # fmt: skip
"""Pairs of points whose difference vector is a feature: bones and other pairs that distinguish postures."""

_TORSO = LIMBS[0]

ANGLES = (
    (_TORSO, LIMBS[1]), (_TORSO, LIMBS[3]), (_TORSO, LIMBS[4]), (LIMBS[3], LIMBS[4]),
    *(
        ((f"{side}_{a}", f"{side}_{b}"), (f"{side}_{c}", f"{side}_{d}"))
        for side in ("left", "right")
        for a, b, c, d in (
            ("shoulder", "elbow", "elbow", "wrist"), ("shoulder", "hip", "shoulder", "elbow"),
            ("shoulder", "hip", "hip", "knee"), ("hip", "knee", "knee", "ankle"),
        )
    ),
    *((_TORSO, (f"{side}_{a}", f"{side}_{b}")) for side in ("left", "right")
      for a, b in (("hip", "knee"), ("shoulder", "elbow"))),
    *(((f"left_{a}", f"left_{b}"), (f"right_{a}", f"right_{b}"))
      for a, b in (("hip", "knee"), ("shoulder", "elbow"), ("hip", "ankle"))),
)  # fmt: skip
"""Pairs of limbs whose angle is a feature."""


def network() -> keras.Model:
    """Returns the model from heatmaps to features, `float32 [N, 17, 64, 48]` to `float32 [N, D]`.

    Features in order: x and y of the joints, their visibility (0..1), x and y of the limbs' directions, the limbs'
    lengths, cosine and sine of the angles; each kind multiplied by its factor in `TIMES`. Features of invisible joints
    are 0. Lengths are in units of the body scale, x to the right, y down.
    """
    maps = keras.Input(SHAPE, name="heatmaps")
    x, y, seen = _joints(maps)
    x, y = _centred(x, y, seen)
    limbs = _limbs(x, y, seen)
    values = (x, y, seen, *limbs, *_angles(limbs[0], limbs[1]))
    parts = [
        keras.layers.Rescaling(times, name=f"{kind}_as_fed")(value)
        for (kind, times), value in zip(TIMES.items(), values, strict=True)
    ]
    features = keras.layers.Concatenate(name="features")(parts)
    return keras.Model(maps, features, name="keypoints")


def _joints(maps: Any) -> tuple[Any, Any, Any]:
    """Returns x, y and visibility of the peaks, `[N, 17]` each.

    x and y are relative to the map's centre, in units of its height. They are the soft-argmax of the map: the mean
    position under a softmax over all pixels (Sun et al. 2018, "Integral human pose regression"). The map is first
    normalised to L2 norm 1, so that the result does not depend on the height of the peak.
    """
    layers = keras.layers
    flat = layers.Reshape((len(JOINTS), HEIGHT * WIDTH), name="pixels")(maps)
    peaks = layers.GlobalMaxPooling1D(data_format="channels_first", name="peaks")(flat)
    ramp = layers.Rescaling(1 / (SEEN - UNSEEN), -UNSEEN / (SEEN - UNSEEN), name="ramp")(peaks)
    seen = layers.ReLU(max_value=1.0, name="seen")(ramp)
    # Positive everywhere: LiteRT returns NaN when it normalises a map of zeros.
    above = layers.Rescaling(1.0, _FLOOR, name="above")(layers.ReLU(name="no_less")(flat))
    even = layers.UnitNormalization(axis=-1, name="even")(above)
    # At L2 norm 1, a Gaussian of standard deviation 2 has the height 1 / (2 sqrt(pi)).
    sharp = layers.Rescaling(SHARPNESS * 2 * np.pi**0.5, name="sharp")(even)
    where = layers.Softmax(axis=-1, name="where")(sharp)
    # Sums first within rows, then over rows, and relative to the centre: a single sum of 3,072 numbers has an error of
    # 1e-5 that differs between runtimes.
    across, down = ((np.arange(side) - (side - 1) / 2) / HEIGHT for side in (WIDTH, HEIGHT))
    shaped = layers.Reshape((len(JOINTS), HEIGHT, WIDTH), name="map")(where)
    in_rows = _fixed(np.stack([across, np.ones(WIDTH)], axis=1), "in_rows")(shaped)
    by_rows = layers.Reshape((len(JOINTS), 2 * HEIGHT), name="by_rows")(in_rows)
    picked = np.stack([np.ones(HEIGHT), np.zeros(HEIGHT)], axis=1), np.stack([np.zeros(HEIGHT), down], axis=1)
    x, y = (
        layers.Reshape((len(JOINTS),), name=axis)(_fixed(kernel.reshape(-1, 1), f"mean_{axis}")(by_rows))
        for axis, kernel in zip("xy", picked, strict=True)
    )
    return x, y, seen


def _centred(x: Any, y: Any, seen: Any) -> tuple[Any, Any]:
    """Returns the joints relative to the hips, in units of the body scale; 0 for invisible joints.

    If the hips are invisible, the shoulders are the origin; if both are, the mean of the visible joints.
    """
    layers = keras.layers
    strength = np.full(len(JOINTS), 12.0)
    for name, more in (("shoulders", 6.0), ("hips", 12.0)):
        strength[[JOINTS.index(joint) for joint in _MIDDLES[name]]] += more
    weights = layers.Softmax(name="middle")(_fixed(np.diag(strength), "strength")(seen))
    moved = []
    for axis, values in (("x", x), ("y", y)):
        middle = layers.Dot(1, name=f"middle_{axis}")([weights, values])
        away = layers.Subtract(name=f"away_{axis}")([values, middle])
        moved.append(layers.Multiply(name=f"seen_{axis}")([away, seen]))
    # 1 / sqrt(torso^2 + SPREAD mean(distance^2) + least^2): the normalised vector's last component / least.
    torso = _point("shoulders") - _point("hips")
    parts = np.concatenate([torso[:, None], np.eye(len(JOINTS)) * (SPREAD / len(JOINTS)) ** 0.5], axis=1)
    least = _constant(1, _LEAST, "least")(seen)
    whole = [_fixed(parts, f"size_{axis}")(values) for axis, values in zip("xy", moved, strict=True)]
    unit = layers.UnitNormalization(axis=-1, name="unit")(layers.Concatenate(name="sizes")([*whole, least]))
    last = np.zeros((2 * parts.shape[1] + 1, 1))
    last[-1] = 1 / _LEAST
    scale = _fixed(last, "scale")(unit)
    x, y = (layers.Multiply(name=f"scaled_{axis}")([v, scale]) for axis, v in zip("xy", moved, strict=True))
    return x, y


def _limbs(x: Any, y: Any, seen: Any) -> tuple[Any, Any, Any]:
    """Returns the limbs' directions, x and y of unit vectors that fade for lengths below `SHORT`, and their lengths."""
    layers, count = keras.layers, len(LIMBS)
    differences = np.stack([_point(end) - _point(begin) for begin, end in LIMBS], axis=1)
    # Visibility of a limb: relu(sum of both ends - 1). The visibility of a midpoint is the mean of its two joints.
    ends = np.stack([_point(begin) + _point(end) for begin, end in LIMBS], axis=1)
    both = _fixed(ends, "both_ends", -1.0, "relu")(seen)
    along, across = _fixed(differences, "limb_x")(x), _fixed(differences, "limb_y")(y)
    parts = [along, across, _constant(count, SHORT, "short")(seen)]
    stacked = [layers.Reshape((count, 1), name=f"limb_{index}")(part) for index, part in enumerate(parts)]
    unit = layers.UnitNormalization(axis=-1, name="limb")(layers.Concatenate(name="limbs")(stacked))
    masked = layers.Multiply(name="limbs_seen")([unit, layers.Reshape((count, 1), name="both")(both)])
    taken = [_fixed(np.eye(3)[:, [index]], f"component_{index}")(masked) for index in range(2)]
    right, down = (layers.Reshape((count,), name=f"limbs_{index}")(one) for index, one in enumerate(taken))
    # The scalar product of a vector with its direction is its length.
    products = [
        layers.Multiply(name=f"length_{axis}")(pair) for axis, pair in (("x", [along, right]), ("y", [across, down]))
    ]
    return right, down, layers.Add(name="lengths")(products)


def _angles(right: Any, down: Any) -> tuple[Any, Any]:
    """Returns cosine and sine of the angles between limbs, measured from the second limb to the first."""
    layers = keras.layers
    firsts, seconds = np.zeros((len(LIMBS), len(ANGLES))), np.zeros((len(LIMBS), len(ANGLES)))
    for index, (one, other) in enumerate(ANGLES):
        firsts[LIMBS.index(one), index] = seconds[LIMBS.index(other), index] = 1
    ax, ay = (_fixed(firsts, f"first_{axis}")(values) for axis, values in (("x", right), ("y", down)))
    bx, by = (_fixed(seconds, f"second_{axis}")(values) for axis, values in (("x", right), ("y", down)))
    products = {
        name: layers.Multiply(name=name)(pair)
        for name, pair in {"xx": [ax, bx], "yy": [ay, by], "xy": [ax, by], "yx": [ay, bx]}.items()
    }
    cosine = layers.Add(name="cosine")([products["xx"], products["yy"]])
    return cosine, layers.Subtract(name="sine")([products["yx"], products["xy"]])


def _point(name: str) -> np.ndarray:
    """Returns the weights of the joints, `[17]`, whose sum is the named point: a joint, or the midpoint of two."""
    weights = np.zeros(len(JOINTS))
    for joint in _MIDDLES.get(name, (name,)):
        weights[JOINTS.index(joint)] = 1 / len(_MIDDLES.get(name, (name,)))
    return weights


def _fixed(kernel: np.ndarray, name: str, bias: float | None = None, activation: str | None = None) -> Any:
    """Returns a built, non-trainable dense layer with the given kernel and bias."""
    values: Sequence[np.ndarray] = [np.asarray(kernel, np.float32)]
    if bias is not None:
        values = [*values, np.full(kernel.shape[1], bias, np.float32)]
    layer = keras.layers.Dense(kernel.shape[1], activation, use_bias=bias is not None, trainable=False, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights(list(values))
    return layer


def _constant(count: int, value: float, name: str) -> Any:
    """Returns a layer that outputs a constant `[N, count]` for any input `[N, 17]`."""
    return _fixed(np.zeros((len(JOINTS), count)), name, value)

"""The backbone `keypoints`: what 17 heatmaps tell of a posture, and nothing of where in the picture it is taken.

Heatmaps are no pictures: each says where one joint is, and how sure the network that made it was. So the joints are
read off, moved to the hips and scaled by the torso, which makes people comparable; to them come the limbs' directions
and lengths, and the angles between them. Everything is a layer that Keras and TFLite have built in, with fixed weights:
an `.h5` of it loads wherever Keras is, and whoever serves it hands in the heatmaps as they are.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from headstand.heatmaps import HEIGHT, JOINTS, SHAPE, WIDTH

VERSION = "4"
"""Of the features; a new value makes every cached one a miss."""

SHARPNESS = 17.0
"""Height that the largest peak has before the softmax over the pixels. ViTPose's peaks have a deviation of 2 pixels;
the softmax makes one of 2 / sqrt(17) = 0.5 of it: narrow enough to pass over everything but the peak, the 3,072 pixels
of the background having 1/10,000 of its weight, and wide enough to tell where between two pixels it lies."""

UNSEEN, SEEN = 0.05, 0.25
"""Heights of a peak: up to the first a joint does not count, from the second on it counts in full."""

SPREAD = 0.25
"""Weight of all joints' mean square distance from the hips beside the torso's square in the body's scale: a torso seen
from its end has no length."""

SHORT = 0.1
"""Length of a limb, in units of the scale, under which its direction fades: that of a point is chance."""

TIMES = {"x": 1.7, "y": 1.7, "seen": 4.0, "right": 1.8, "down": 1.8, "length": 4.0, "cosine": 2.0, "sine": 2.0}
"""What the kinds of features, in their order, are multiplied with: each varies by about 1 over people then, and a head
learns soonest from what varies most."""

_FLOOR = 1e-4
"""Added to all pixels; the noise of a network's maps is larger."""

_LEAST = 0.02
"""Smallest scale, as a share of the map's height."""

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
"""Pairs of points whose difference counts: bones, and what else tells postures apart."""

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
"""Pairs of limbs whose angle counts."""


def network() -> keras.Model:
    """Heatmaps to features: `float32 [N, 17, 64, 48]` to `float32 [N, D]`.

    In their order: x and y of the joints, how far each is seen (0..1), x (right) and y (down) of the limbs' directions,
    their lengths, cosine and sine of the angles; all of them `TIMES` as large. What is not seen is 0. Lengths are in
    units of the body's scale, x to the right, y down.
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
    """Where the peaks are from the map's middle, x and y as shares of its height, and how far they are seen: `[N, 17]`.

    The mean place under a softmax over all pixels (Sun et al. 2018, "Integral human pose regression"), which is taken
    of the map at length 1, so that a low peak is read like a high one.
    """
    layers = keras.layers
    flat = layers.Reshape((len(JOINTS), HEIGHT * WIDTH), name="pixels")(maps)
    peaks = layers.GlobalMaxPooling1D(data_format="channels_first", name="peaks")(flat)
    ramp = layers.Rescaling(1 / (SEEN - UNSEEN), -UNSEEN / (SEEN - UNSEEN), name="ramp")(peaks)
    seen = layers.ReLU(max_value=1.0, name="seen")(ramp)
    # Above 0 everywhere: of a map without length LiteRT makes numbers that are none.
    above = layers.Rescaling(1.0, _FLOOR, name="above")(layers.ReLU(name="no_less")(flat))
    even = layers.UnitNormalization(axis=-1, name="even")(above)
    # At length 1 a Gaussian of deviation 2 has the height 1 / (2 sqrt(pi)).
    sharp = layers.Rescaling(SHARPNESS * 2 * np.pi**0.5, name="sharp")(even)
    where = layers.Softmax(axis=-1, name="where")(sharp)
    # First over each row, then over the rows: a sum of 3,072 numbers at once is off by 1e-5, in each runtime otherwise.
    # From the map's middle, for the same reason.
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
    """The joints from the hips, in units of the body's scale; 0 where a joint is not seen.

    Where the hips are not seen the shoulders stand for them, where these are not either the mean of what is seen.
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
    # 1 / sqrt(torso^2 + SPREAD mean(distance^2) + least^2): the last component of a vector of length 1.
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
    """The limbs' directions, x and y of a vector of length 1 that fades where a limb is `SHORT`, and their lengths."""
    layers, count = keras.layers, len(LIMBS)
    differences = np.stack([_point(end) - _point(begin) for begin, end in LIMBS], axis=1)
    # Both ends must be seen: the sum of both less 1, and no less than 0. A middle is seen as far as its two joints are.
    ends = np.stack([_point(begin) + _point(end) for begin, end in LIMBS], axis=1)
    both = _fixed(ends, "both_ends", -1.0, "relu")(seen)
    along, across = _fixed(differences, "limb_x")(x), _fixed(differences, "limb_y")(y)
    parts = [along, across, _constant(count, SHORT, "short")(seen)]
    stacked = [layers.Reshape((count, 1), name=f"limb_{place}")(part) for place, part in enumerate(parts)]
    unit = layers.UnitNormalization(axis=-1, name="limb")(layers.Concatenate(name="limbs")(stacked))
    masked = layers.Multiply(name="limbs_seen")([unit, layers.Reshape((count, 1), name="both")(both)])
    taken = [_fixed(np.eye(3)[:, [place]], f"component_{place}")(masked) for place in range(2)]
    right, down = (layers.Reshape((count,), name=f"limbs_{place}")(one) for place, one in enumerate(taken))
    # A vector times its direction is its length.
    products = [
        layers.Multiply(name=f"length_{axis}")(pair) for axis, pair in (("x", [along, right]), ("y", [across, down]))
    ]
    return right, down, layers.Add(name="lengths")(products)


def _angles(right: Any, down: Any) -> tuple[Any, Any]:
    """Cosine and sine of the angles between limbs, from the second to the first."""
    layers = keras.layers
    firsts, seconds = np.zeros((len(LIMBS), len(ANGLES))), np.zeros((len(LIMBS), len(ANGLES)))
    for place, (one, other) in enumerate(ANGLES):
        firsts[LIMBS.index(one), place] = seconds[LIMBS.index(other), place] = 1
    ax, ay = (_fixed(firsts, f"first_{axis}")(values) for axis, values in (("x", right), ("y", down)))
    bx, by = (_fixed(seconds, f"second_{axis}")(values) for axis, values in (("x", right), ("y", down)))
    products = {
        name: layers.Multiply(name=name)(pair)
        for name, pair in {"xx": [ax, bx], "yy": [ay, by], "xy": [ax, by], "yx": [ay, bx]}.items()
    }
    cosine = layers.Add(name="cosine")([products["xx"], products["yy"]])
    return cosine, layers.Subtract(name="sine")([products["yx"], products["xy"]])


def _point(name: str) -> np.ndarray:
    """What a named point is a mean of: weights of the joints, `[17]`."""
    weights = np.zeros(len(JOINTS))
    for joint in _MIDDLES.get(name, (name,)):
        weights[JOINTS.index(joint)] = 1 / len(_MIDDLES.get(name, (name,)))
    return weights


def _fixed(kernel: np.ndarray, name: str, bias: float | None = None, activation: str | None = None) -> Any:
    """A dense layer that never learns."""
    values: Sequence[np.ndarray] = [np.asarray(kernel, np.float32)]
    if bias is not None:
        values = [*values, np.full(kernel.shape[1], bias, np.float32)]
    layer = keras.layers.Dense(kernel.shape[1], activation, use_bias=bias is not None, trainable=False, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights(list(values))
    return layer


def _constant(count: int, value: float, name: str) -> Any:
    """The same numbers whatever comes in, `[N, count]`, from what has 17 columns."""
    return _fixed(np.zeros((len(JOINTS), count)), name, value)

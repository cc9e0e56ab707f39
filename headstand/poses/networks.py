"""Baseline networks that treat heatmaps as images, for comparison with the backbone `keypoints`.

With a head that has inner layers they reproduce the models of an earlier study: `heatmaps_flat` with `inner = 64`
(plus one more layer), and `heatmaps_cnn`, which is fine-tuned because it has no pretrained weights.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import keras

from headstand.poses.heatmap_file import SHAPE

FILTERS = (32, 64, 128)
"""Filters of the convolutions, as in a typical small CNN."""


def flat() -> keras.Model:
    """Returns a model that flattens the heatmaps, `float32 [N, 17, 64, 48]` to `[N, 52224]`."""
    maps = keras.Input(SHAPE, name="heatmaps")
    return keras.Model(maps, keras.layers.Flatten(name="features")(maps))


def convolutional() -> keras.Model:
    """Returns an untrained CNN over the heatmaps as a 17-channel image, `float32 [N, 17, 64, 48]` to `[N, 128]`."""
    layers = keras.layers
    maps = keras.Input(SHAPE, name="heatmaps")
    x = layers.Permute((2, 3, 1), name="picture")(maps)
    for number, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"convolution_{number}")(x)
        x = layers.MaxPooling2D(name=f"halved_{number}")(x)
    return keras.Model(maps, layers.GlobalAveragePooling2D(name="features")(x))

"""Networks that take heatmaps for pictures, as the study before did: to be compared with the backbone `keypoints`.

Followed by a head with inner layers they are its models: `heatmaps_flat` with `inner = 64`, with one more layer, and
`heatmaps_cnn` fine-tuned, since nobody has trained it before.
"""

import keras

from headstand.heatmaps import SHAPE

FILTERS = (32, 64, 128)
"""Of the convolutions, as in the usual first network for pictures."""


def flat() -> keras.Model:
    """All numbers of the heatmaps in a row: `float32 [N, 17, 64, 48]` to `[N, 52224]`."""
    maps = keras.Input(SHAPE, name="heatmaps")
    return keras.Model(maps, keras.layers.Flatten(name="features")(maps))


def convolutional() -> keras.Model:
    """Convolutions over a picture of 17 channels, freshly initialised: `float32 [N, 17, 64, 48]` to `[N, 128]`."""
    layers = keras.layers
    maps = keras.Input(SHAPE, name="heatmaps")
    x = layers.Permute((2, 3, 1), name="picture")(maps)
    for place, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"convolution_{place}")(x)
        x = layers.MaxPooling2D(name=f"halved_{place}")(x)
    return keras.Model(maps, layers.GlobalAveragePooling2D(name="features")(x))

import random

import numpy as np

from headstand.tensorflow_setup import initial_weights
from tests.networks import keras


def weights() -> np.ndarray:
    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    return np.array(layer.kernel)


def test_initial_weights_are_those_of_the_seed_and_pythons_generator_is_left_alone() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with initial_weights(7):
        first = weights()
    assert random.random() == expected
    with initial_weights(8):
        assert not np.allclose(weights(), first)
    with initial_weights(7):
        assert np.array_equal(weights(), first)
    keras.utils.set_random_seed(7)
    assert np.array_equal(weights(), first)

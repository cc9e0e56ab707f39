"""Sets TensorFlow's environment variables and silences its first import; imported before Keras."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from headstand.quiet import quiet

# TensorFlow and Keras read these variables when they are first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet():
    import tensorflow as tf

    # The first operation searches for GPUs and logs warnings if there are none; `quiet` suppresses them.
    tf.zeros(())


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Makes the initial weights of the Keras layers that are created in this context a function of the seed.

    An initializer without a seed draws one from Python's generator, whose state is restored afterwards.
    `keras.utils.set_random_seed` gives the same weights, but TensorFlow then deletes its compiled graphs: to compile
    them again took longer than to train a head.

    Args:
        seed: any whole number.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)

"""Learn: from prepared photos to a trained, evaluated checkpoint."""

import os

from headstand.quiet import quiet

# Read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet():
    import tensorflow as tf

    # The first operation looks for GPUs, and tells at length that there are none.
    tf.zeros(())

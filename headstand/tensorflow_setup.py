"""Sets TensorFlow's environment variables and silences its first import; imported before Keras."""

import os

from headstand.quiet import quiet

# TensorFlow and Keras read these variables when they are first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet():
    import tensorflow as tf

    # The first operation searches for GPUs and logs warnings if there are none; `quiet` suppresses them.
    tf.zeros(())

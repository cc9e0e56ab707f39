"""Learn: from prepared photos to a trained, evaluated checkpoint."""

import os

# TensorFlow reads these when it is first imported: no banner about CPU instructions, no missing GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

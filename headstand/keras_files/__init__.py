"""Loads untrusted Keras files (`.h5` of Keras 2 and 3, `.keras`) without running code from them.

`loading.load` returns the model. `reader` copies a file's plain arrays in a separate process. `config` checks the
configuration against an allow-list of built-in layers. This module imports nothing, so that the reader starts without
Keras.
"""

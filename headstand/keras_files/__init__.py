"""Keras files (`.h5` of Keras 2 and 3, `.keras`), untrusted until checked; loaded without running code from them.

`loading.load` returns the model. `reader` copies a file's plain arrays in a process of its own, `config` checks its
configuration against an allow-list of built-in layers. Nothing is imported here: the reader starts without Keras.
"""

"""Silence for libraries that talk straight to the terminal."""

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow and its converter say off the terminal.

    It comes from Python's print, from warnings, from absl and straight from C++ before any log level is read, so the
    file descriptors themselves are turned away, and `sys.stdout`, which in a notebook is none of them. `sys.stderr`
    stays, since loggers that are made meanwhile keep it; so loggers are silenced up to warnings. Exceptions pass as
    ever. `TF_CPP_MIN_LOG_LEVEL=0` lets all through.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    disabled = logging.root.manager.disable
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            logging.disable(disabled)
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)

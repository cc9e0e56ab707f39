"""Context managers that suppress output which libraries write directly to the terminal."""

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import IO

_LOCK = threading.Lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses the output of TensorFlow and its converter.

    The output comes from Python's print, warnings, absl, and C++ code that ignores log levels, so file descriptors 1
    and 2 are redirected, and `sys.stdout`, which in a notebook does not use them. `sys.stderr` is not replaced, because
    loggers created in the block would keep the replacement; instead logging is disabled up to WARNING. Exceptions
    propagate. `TF_CPP_MIN_LOG_LEVEL=0` shows all output.
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


@contextlib.contextmanager
def without_information() -> Iterator[None]:
    """Drops lines that begin with INFO from standard error; other lines are written when the block ends.

    LiteRT logs its delegate as INFO without a setting to disable it, and writes warnings and errors to the same stream.
    `TF_CPP_MIN_LOG_LEVEL=0` shows all output.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    with _LOCK, _memory() as captured:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            captured.seek(0)
            for line in captured:
                if not line.startswith(b"INFO"):
                    os.write(2, line)


def _memory() -> IO[bytes]:
    """Returns a file in memory if the system supports it, because a service may run on a read-only file system."""
    return os.fdopen(os.memfd_create("captured"), "rb") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()

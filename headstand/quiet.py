"""Silence for libraries that talk straight to the terminal."""

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

_ONE = threading.Lock()


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


@contextlib.contextmanager
def without_information() -> Iterator[None]:
    """Keep lines that begin with INFO off standard error; what else is written there meanwhile follows at the end.

    LiteRT tells so which delegate it made, has no setting for it, and says its warnings and errors in the same way.
    `TF_CPP_MIN_LOG_LEVEL=0` lets all through.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    with _ONE, _memory() as heard:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            heard.seek(0)
            for line in heard:
                if not line.startswith(b"INFO"):
                    os.write(2, line)


def _memory() -> IO[bytes]:
    """A file in memory where the system has such: a service may run where none can be written."""
    return os.fdopen(os.memfd_create("heard"), "rb") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()

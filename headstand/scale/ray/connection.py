"""Connection to a Ray cluster, and the environment of its workers."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import headstand
from headstand.errors import HeadstandError
from headstand.quiet import quiet
from headstand.training import Backend

CATEGORY = 'pipenv sync --categories "packages ray"'

TIMEOUT = 5.0
"""Timeout in seconds for reaching a cluster; Ray itself would retry for ten minutes."""

_SETTINGS = {
    # Each worker uses one processor. TensorFlow would start one thread for every processor of the machine.
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}

_OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune would log every metric to three files, and treat Ctrl-C as a request for a graceful stop.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray's core warns about each actor pool in case the driver drops its reference to the model, which it keeps.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


class ClusterError(HeadstandError):
    """A cluster cannot be reached or used, or it fails during a computation."""


@contextmanager
def connected(address: str) -> Iterator[Backend]:
    """Connects to a Ray cluster and yields the feature extractor and the search that run on it.

    It disconnects at the end, also after an error.

    Args:
        address: `auto` for the cluster that this machine is part of, else HOST:PORT of its head node.

    Raises:
        ClusterError: Ray is not installed, there is no such cluster, or this machine is not part of it.
    """
    _check(address)
    for name, value in _OWN.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        import ray.tune
    except ImportError as error:
        raise ClusterError(f"--ray needs Ray, which is not installed ({error}): {CATEGORY}") from None
    from headstand.scale.ray import extraction, search

    for name in ("ray.data", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with quiet():  # Ray's core prints a notice about its log level
            ray.init(
                address,
                # Workers run this checkout's code, whatever version is installed there, with their own dependencies.
                runtime_env={"py_modules": [str(Path(headstand.__file__).parent)], "env_vars": _settings()},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ClusterError(_message(address, error)) from error
    try:
        yield Backend(extraction.ClusterExtractor, search.run)
    finally:
        ray.shutdown()


def size() -> tuple[int, int]:
    """Returns how many processors (at least 1) and GPUs the cluster has at the moment."""
    import ray

    resources: dict[str, Any] = ray.cluster_resources()
    return max(1, int(resources.get("CPU", 0))), int(resources.get("GPU", 0))


def cluster_failure(error: BaseException) -> ClusterError:
    """Returns a `ClusterError` with the essential line of one of Ray's long error messages."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines() or [type(error).__name__]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return ClusterError(f"the cluster failed ({line}): run the same command again to continue")


def _settings() -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in _SETTINGS.items()}


def _check(address: str) -> None:
    """Raises ClusterError if the address is malformed or nothing accepts connections there."""
    if address == "auto":
        return
    match = re.fullmatch(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})", address)
    if not match or int(match["port"]) > 65535:
        raise ClusterError(
            f"--ray {address!r} is neither auto nor HOST:PORT of a cluster's head, such as 10.0.0.5:6379; "
            "run train.py on one of the cluster's own machines"
        )
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), TIMEOUT).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error.strerror or error}): start one with `ray start --head`"
        ) from None


def _message(address: str, error: BaseException) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if address == "auto":
        return f"this machine is not part of a running Ray cluster ({reason}): start one with `ray start --head`"
    return f"cannot use the Ray cluster {address} ({reason}): run train.py on one of its own machines"

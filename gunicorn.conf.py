"""What `gunicorn predict:app` runs with; docs/service.md explains each number.

The command line and GUNICORN_CMD_ARGS go before it; HEADSTAND_... and WEB_CONCURRENCY change what is chosen here.
"""

import atexit
import contextlib
import ctypes
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # where `headstand` is, if it is not installed

from headstand.serve import capacity

# Nothing here multiplies matrices in NumPy, whose library would keep a thread for each core. Read when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# glibc gives each thread a heap of its own to save waiting for one another; with dozens of threads the heaps' leftovers
# double a worker's memory. After a few large blocks it keeps such for good, where each should go back to the system;
# but what one small image takes, given back after each answer and fetched again, costs a fifth of the answers a second.
# M_ARENA_MAX is -8, M_MMAP_THRESHOLD -3 and M_TRIM_THRESHOLD -1 in its malloc.h; other C libraries have no such call.
with contextlib.suppress(AttributeError, OSError, TypeError):
    allocator = ctypes.CDLL(None)
    allocator.mallopt(-8, 2)
    allocator.mallopt(-3, 2**20)
    allocator.mallopt(-1, 4 * 2**20)

limits = capacity.chosen()
workers = limits.workers
worker_class = "headstand.serve.worker.Worker"
# More than are admitted: the others are refused at once, or wait for clients that send slowly.
threads = limits.in_flight + 32
# The model is loaded and warmed once, and the workers share its memory. An interpreter with threads of its own cannot
# be taken through a fork.
preload_app = limits.threads == 1

# Longer than what proxies in front keep connections open (60 s): the one who closes first should be the proxy.
keepalive = 65
# A batch begins no image after 10 seconds, and a download takes 10 at most; orchestrators kill after 30.
graceful_timeout = 25
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# No socket through which other programs of this user could steer the service.
control_socket_disable = True

# Lines of JSON: requests on standard output, the server's own events on standard error.
logconfig_dict = {
    "formatters": {"json": {"()": "headstand.serve.logs.Line"}},
    "handlers": {
        "events": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
        "requests": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "WARNING", "handlers": ["events"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["events"], "propagate": False},
        "headstand.requests": {"level": "INFO", "handlers": ["requests"], "propagate": False},
    },
}

# Where the workers' counts meet. prometheus_client looks for the variable when it is loaded, by then it must be set.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="headstand-metrics-")

    def _remove(folder: str = os.environ["PROMETHEUS_MULTIPROC_DIR"], owner: int = os.getpid()) -> None:
        if os.getpid() == owner:  # workers leave by the same way
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(_remove)


def when_ready(server: Any) -> None:
    """Let the system keep connections to itself until they bring their first byte: idle ones take no thread."""
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)


def post_worker_init(worker: Any) -> None:
    """Say that a worker takes connections from now on; it was announced before it had loaded anything."""
    worker.log.info("Worker is ready: %s", worker.pid)


def child_exit(server: Any, worker: Any) -> None:
    """A worker that is gone has no requests in flight; what it counted stays."""
    from prometheus_client import multiprocess

    from headstand.serve.worker import TALLY

    TALLY.remove(worker.age)
    multiprocess.mark_process_dead(worker.pid)

"""Settings of `gunicorn predict:app`; docs/service.md explains each number.

The command line and GUNICORN_CMD_ARGS take precedence; HEADSTAND_... and WEB_CONCURRENCY change what is chosen here.
"""

import contextlib
import ctypes
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # where `headstand` is, if it is not installed

# Nothing here multiplies matrices in NumPy, whose library would keep a thread for each core. Read when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from headstand.errors import HeadstandError
from headstand.serve import capacity, classifier, metrics

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
# More than predictions are admitted: the others refuse the rest, and answer for /metrics, /docs and the page. No thread
# waits for a client.
threads = limits.in_flight + 8
descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
unlimited = descriptors == resource.RLIM_INFINITY
worker_connections = capacity.MAX_CONNECTIONS if unlimited else capacity.connections(limits, descriptors)
# The model is loaded and warmed once, and the workers share its memory. An interpreter with threads of its own cannot
# be taken through a fork: then the workers share the checked bytes of the file only.
preload_app = limits.threads == 1
if not preload_app:
    with contextlib.suppress(HeadstandError):  # each worker reports it
        classifier.keep()
# Counters that all workers share; this file is executed again on SIGHUP.
metrics.SHARED = metrics.SHARED or metrics.Table()
# The workers' heartbeats are times of files: a full disk or a cleaned folder must not end the service.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

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


def on_starting(server: Any) -> None:
    """Refuse to start with a certificate."""
    if server.cfg.is_ssl:
        sys.exit("error: this service does not speak TLS; put a reverse proxy in front of it (docs/service.md)")


def when_ready(server: Any) -> None:
    """Make the system keep connections until their first byte has arrived: idle ones need no descriptor here."""
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)


def post_worker_init(worker: Any) -> None:
    """Log that a worker accepts connections from now on; gunicorn's own line precedes loading."""
    worker.log.info("Worker is ready: %s", worker.pid)


def child_exit(server: Any, worker: Any) -> None:
    """Note that a worker has ended: it has no requests in flight; what it counted stays."""
    from headstand.serve.worker import WORKER_LOAD

    WORKER_LOAD.remove(worker.age)
    metrics.SHARED.end_row(worker.age)

"""gunicorn settings for `gunicorn predict:app`; docs/service.md explains each number.

The command line and GUNICORN_CMD_ARGS take precedence; HEADSTAND_... and WEB_CONCURRENCY override the defaults here.
"""

import contextlib
import ctypes
import gc
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # where `headstand` is, if it is not installed

# OpenBLAS starts a thread per core when NumPy is imported; the service does no matrix products with NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from headstand import environment
from headstand.errors import HeadstandError
from headstand.serve import capacity, classifier, content, service_metrics

# glibc's malloc has one arena per thread, and with dozens of threads their free memory doubles a worker's memory: use
# two. It also keeps large blocks after a few of them: return blocks over 1 MiB to the system at once. But returning the
# memory of one small image after each answer costs a fifth of the throughput: keep 4 MiB. M_ARENA_MAX is -8,
# M_MMAP_THRESHOLD -3 and M_TRIM_THRESHOLD -1 in glibc's malloc.h; other C libraries do not have `mallopt`.
with contextlib.suppress(AttributeError, OSError, TypeError):
    allocator = ctypes.CDLL(None)
    allocator.mallopt(-8, 2)
    allocator.mallopt(-3, 2**20)
    allocator.mallopt(-1, 4 * 2**20)

# A warning and no error: Kubernetes sets variables with this prefix where a service has the name "headstand".
if wrong := environment.unknown():
    print(f"warning: {wrong}", file=sys.stderr)
try:
    limits = capacity.chosen()
except HeadstandError as error:  # gunicorn would print a traceback
    sys.exit(f"error: {error}")
workers = limits.workers
worker_class = "headstand.serve.worker.Worker"
# More threads than admitted predictions: the others refuse further predictions and answer /metrics, /docs and the page.
# No thread waits for a client.
threads = limits.in_flight + 8
descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
unlimited = descriptors == resource.RLIM_INFINITY
worker_connections = capacity.MAX_CONNECTIONS if unlimited else capacity.connections(limits, descriptors)
# The model is loaded and run once before the fork, and the workers share its memory. An interpreter with several
# threads does not survive a fork: then the workers share only the checked bytes of the file.
preload_app = limits.threads == 1
if not preload_app:
    with contextlib.suppress(HeadstandError):  # each worker reports it
        classifier.keep()
# Metrics that all workers share; kept on SIGHUP, when this file is executed again.
service_metrics.SHARED = service_metrics.SHARED or service_metrics.Table()
# The workers' heartbeats are modification times of files: a full disk or a cleaned folder must not stop the service.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

# Longer than the keep-alive time of common reverse proxies (60 s), so that the proxy closes connections first.
keepalive = 65
# A batch starts no image after 10 seconds, and a download takes at most 10; orchestrators kill after 30.
graceful_timeout = 25
limit_request_line = content.MAX_LINE
limit_request_fields = 64
limit_request_field_size = 8190
# headstand/serve/framing.py is tested with this parser; a faster one may be installed.
http_parser = "python"
# By default a local client or proxy may set SCRIPT_NAME, and a wrong value is an internal error.
forwarder_headers = ""
# No control socket, which other programs of the same user could use.
control_socket_disable = True

# Lines of JSON: requests on standard output; on standard error the server's own events, and requests that failed by a
# fault of the service, with the traceback.
logconfig_dict = {
    "formatters": {"json": {"()": "headstand.serve.logs.Line"}},
    "handlers": {
        "events": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
        "faults": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stderr",
            "level": "ERROR",
        },
        "requests": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "WARNING", "handlers": ["events"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["events"], "propagate": False},
        "headstand.requests": {"level": "INFO", "handlers": ["requests", "faults"], "propagate": False},
    },
}


def on_starting(server: Any) -> None:
    """Exits with an error if a TLS certificate is configured."""
    if server.cfg.is_ssl:
        sys.exit("error: this service does not support TLS; put a reverse proxy in front of it (docs/service.md)")


def when_ready(server: Any) -> None:
    """Sets TCP_DEFER_ACCEPT, so that connections use no file descriptor here before their first byte arrives."""
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)


def on_reload(server: Any) -> None:
    """Loads the bundle again on SIGHUP, before the workers are replaced; an invalid one changes nothing."""
    try:
        if server.cfg.preload_app:
            # `served` prints the error of an unusable bundle and exits.
            server.app.callable = server.app.load()
            gc.collect()  # the application before has cycles
        else:
            classifier.keep(again=True)
    except (Exception, SystemExit) as error:  # any other end would stop the service
        reason = "" if isinstance(error, SystemExit) else f" ({error})"
        server.log.error("The bundle cannot be loaded%s; the one before it is served on", reason)


def post_worker_init(worker: Any) -> None:
    """Logs that a worker accepts connections; gunicorn's own message precedes the loading of the model."""
    worker.log.info("Worker is ready: %s", worker.pid)


def child_exit(server: Any, worker: Any) -> None:
    """Removes the predictions in flight of an ended worker from the metrics; its counts stay."""
    service_metrics.SHARED.end_row(worker.age)

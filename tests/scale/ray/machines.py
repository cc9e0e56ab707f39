"""A Ray cluster of this machine's own: several raylets on the loopback, each with one processor."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Read when Ray is imported: nothing is sent home, and addresses stay 127.0.0.1.
os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    # A dead machine is noticed within seconds.
    RAY_health_check_initial_delay_ms="1000",
    RAY_health_check_period_ms="500",
    RAY_health_check_failure_threshold="4",
)

from ray.cluster_utils import Cluster

STORE = 200 * 2**20
"""Bytes of each machine's object store."""


class Machines:
    """The head, which computes nothing, and machines that do."""

    def __init__(self, count: int) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={**_settings(), "num_cpus": 0})
        self.nodes = [self.add() for _ in range(count)]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        return self.cluster.add_node(**_settings(), num_cpus=1)

    def kill(self, node: Any) -> list[int]:
        """kill -9 a raylet and, as they die with their machine, its workers; the processes that were killed."""
        import psutil

        raylet = node.all_processes["raylet"][0].process.pid
        processes = [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]
        killed = []
        for process in processes:
            try:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
            except ProcessLookupError:
                pass
        self.nodes.remove(node)
        return killed

    def close(self) -> None:
        self.cluster.shutdown()


@contextmanager
def machines(count: int) -> Iterator[Machines]:
    result = Machines(count)
    try:
        yield result
    finally:
        result.close()


def _settings() -> dict[str, Any]:
    return {"object_store_memory": STORE, "include_dashboard": False, "node_ip_address": "127.0.0.1"}

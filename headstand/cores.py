"""The processor cores of this process."""

import os
from pathlib import Path


def available(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: its affinity (Linux) or all, or fewer if its container has a quota.

    Args:
        quota: the file in which Linux states a container's quota and the period it applies to, in microseconds.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(limit) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit
        return cores

"""Number of CPU cores available to this process."""

import os
from pathlib import Path


def available(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns the number of CPU cores: the process affinity (Linux) or all cores, limited by the container's quota.

    Args:
        quota: cgroup file with a container's CPU quota and its period, in microseconds.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(limit) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit
        return cores

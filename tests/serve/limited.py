"""`python -m tests.serve.limited N MODULE ...`: runs a module in this process with at most N file descriptors."""

import resource
import runpy
import sys

if __name__ == "__main__":
    count = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

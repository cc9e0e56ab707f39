"""Folders that all test processes share, because filling one takes seconds."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def folder(factory: pytest.TempPathFactory, name: str, fill: Callable[[], None]) -> Path:
    """Returns a folder that the first process to ask for it fills; no test may change it.

    Args:
        factory: pytest's factory of temporary folders.
        name: name of the folder, unique among all callers.
        fill: called in the empty folder, without `HEADSTAND_*` variables, with the networks of tests/networks.py.
    """
    from headstand.keras_files import loading, reader
    from tests import networks

    base = factory.getbasetemp()
    # Each process of pytest-xdist has its own folder in that of the whole run.
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    result, finished = base / name, base / f"{name}.finished"
    with FileLock(base / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(result, ignore_errors=True)
            result.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                for variable in [variable for variable in os.environ if variable.startswith("HEADSTAND_")]:
                    patch.delenv(variable)
                for network in networks.backbones.names():
                    patch.setattr(networks.keras.applications, network, networks.tiny)
                # In the test process, as `tests.conftest.read_in_process` does.
                patch.setattr(loading, "_run", lambda path, folder: reader.extract(path, folder))
                patch.chdir(result)
                fill()
            finished.touch()
    return result

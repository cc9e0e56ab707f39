"""Script that downloads a Kaggle dataset with opendatasets or kagglehub in a child process of `kaggle`.

It imports nothing of the package, which would take longer than a small download.
"""

import errno
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def download(dataset: str, folder: str, report: str) -> int:
    """Downloads into `folder/NAME`; on failure writes a JSON report and returns exit status 1."""
    name = dataset.partition("/")[2]
    try:
        if Path("kaggle.json").is_file():
            if find_spec("cgi") is None:
                # opendatasets 0.1.22 imports `cgi`, which Python 3.13 removed; its Kaggle download does not use it.
                sys.modules["cgi"] = ModuleType("cgi")
            import opendatasets

            opendatasets.download(f"https://www.kaggle.com/datasets/{dataset}", data_dir=folder)
        else:
            import kagglehub

            kagglehub.dataset_download(dataset, output_dir=str(Path(folder) / name))
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        if Path("kaggle.json").is_file():
            text = text.replace(json.loads(Path("kaggle.json").read_text(encoding="utf-8"))["key"], "***")
        text = text[:200]  # after the key is masked, which may lie across the cut
        Path(report).write_text(json.dumps({"kind": _kind(error), "text": text}), encoding="utf-8")
        return 1
    return 0


def _kind(error: BaseException) -> str:
    import click
    import requests

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "full"
    if status == 404:
        return "missing"
    if status in (401, 403) or isinstance(error, SystemExit | click.Abort):
        return "refused"
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return "network"
    return "broken"


if __name__ == "__main__":
    sys.exit(download(*sys.argv[1:]))

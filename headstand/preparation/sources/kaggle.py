"""Source `kaggle`: a Kaggle dataset, downloaded once into the cache folder.

With a user name and key, opendatasets downloads; otherwise kagglehub, which also supports Kaggle's access tokens and
downloads public datasets without credentials. Both run in a child process, because they read `./kaggle.json`, create
folders in the home directory, prompt on the terminal and call `exit`, which must not affect the user's folder or
process.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headstand import files
from headstand.errors import HeadstandError
from headstand.preparation.listing import Listing
from headstand.preparation.sources.folder import class_folders
from headstand.recipe import Source

_SCRIPT = Path(__file__).resolve().with_name("kaggle_download.py")

OFFLINE = "give a folder of photos with --source FOLDER, or run `python -m headstand demo`, which needs no download"


class KaggleError(HeadstandError):
    """Raised if a download fails or credentials cannot be read."""


@dataclass(frozen=True)
class Credentials:
    """Kaggle user name and key, and where they were found; the key is not part of the `repr`."""

    username: str
    key: str
    origin: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ..., {self.origin!r})"


def listing(source: Source, seed: int) -> Listing:
    """Downloads the dataset if necessary and lists its photos; errors as `fetch` and `folder.class_folders`."""
    return class_folders(fetch(source), layout=source.layout)


def fetch(source: Source) -> Path:
    """Downloads `source.dataset` into `kaggle/OWNER/NAME` of the cache folder, unless it exists there.

    Raises:
        KaggleError: no network, access refused, no such dataset, or a broken archive. No partial files remain.
    """
    dataset = source.dataset or ""
    target = (files.cache() / "kaggle" / dataset).absolute()
    with files.sole(target):
        if not target.is_dir():
            _fetch(dataset, target)
    return target


def _fetch(dataset: str, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _download(dataset, part, credentials())
        extracted = part / target.name
        if not extracted.is_dir() or not any(extracted.iterdir()):
            raise KaggleError(f"the Kaggle dataset {dataset!r} came without files: {OFFLINE}")
        extracted.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def credentials() -> Credentials | None:
    """Returns the user's Kaggle credentials from the first location where they are found; None if there are none.

    The locations are those of Kaggle's tools: `KAGGLE_USERNAME` and `KAGGLE_KEY`; then `kaggle.json` in the working
    directory, in `KAGGLE_CONFIG_DIR`, in `~/.kaggle` and in `~/.config/kaggle` (or `XDG_CONFIG_HOME`).

    Raises:
        KaggleError: a `kaggle.json` does not have Kaggle's format.
    """
    username, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if username and key:
        return Credentials(username, key, "KAGGLE_USERNAME and KAGGLE_KEY")
    folders = [Path.cwd(), Path.home() / ".kaggle"]
    if os.environ.get("KAGGLE_CONFIG_DIR"):
        folders.insert(1, Path(os.environ["KAGGLE_CONFIG_DIR"]).expanduser())
    folders.append(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle")
    for file in (folder / "kaggle.json" for folder in folders):
        if file.is_file():
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
                return Credentials(str(values["username"]), str(values["key"]), str(file))
            except (OSError, ValueError, KeyError, TypeError):
                # No cause is chained, as it contains the text of the file.
                raise KaggleError(
                    f"{file} does not hold a Kaggle user name and key: "
                    'it should read {"username": "...", "key": "..."}, as kaggle.com/settings issues it'
                ) from None
    return None


def _download(dataset: str, folder: Path, user: Credentials | None) -> None:
    """Downloads into `folder/NAME` in a child process.

    Raises:
        KaggleError: the download failed, with the reason in one sentence.
    """
    with tempfile.TemporaryDirectory(prefix="headstand-kaggle-") as desk:
        if user:
            (Path(desk) / "kaggle.json").touch(mode=0o600)
            (Path(desk) / "kaggle.json").write_text(
                json.dumps({"username": user.username, "key": user.key}), encoding="utf-8"
            )
        report = Path(desk) / "report.json"
        # No use of the home and working directories; `-P` keeps the script's folder off its module search path.
        environment = {**os.environ, "KAGGLE_CONFIG_DIR": desk, "KAGGLEHUB_CACHE": str(folder / "hub")}
        command = [sys.executable, "-P", str(_SCRIPT), dataset, str(folder), str(report)]
        done = subprocess.run(  # noqa: S603 - our own script; the dataset's name is checked by the recipe
            command, cwd=desk, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )
        if done.returncode == 0:
            return
        failure = (
            json.loads(report.read_text(encoding="utf-8"))
            if report.is_file()
            else {"kind": "broken", "text": "it was stopped"}
        )
    raise KaggleError(_sentence(dataset, failure["kind"], failure["text"], user))


def _sentence(dataset: str, kind: str, text: str, user: Credentials | None) -> str:
    if kind == "full":
        return f"the disk is full: the Kaggle dataset {dataset!r} needs more room (HEADSTAND_CACHE can name another)"
    if kind == "missing":
        return f"Kaggle knows no dataset {dataset!r}, or does not show it to you: check source.dataset, or {OFFLINE}"
    if kind == "refused":
        who = f"the credentials from {user.origin}" if user else "a visitor without credentials"
        way = "renew them" if user else "put kaggle.json into ~/.kaggle"
        return f"Kaggle refuses {who} the dataset {dataset!r}: {way} (kaggle.com/settings), or {OFFLINE}"
    if kind == "network":
        return f"Kaggle cannot be reached for the dataset {dataset!r}: check the network, or {OFFLINE}"
    return f"the download of the Kaggle dataset {dataset!r} broke ({text}): try again, or {OFFLINE}"

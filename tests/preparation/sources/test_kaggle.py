"""Downloads from a server on loopback that stands in for Kaggle's."""

import base64
import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headstand.preparation.sources import kaggle
from headstand.preparation.sources.kaggle import KaggleError, credentials, fetch, listing
from headstand.recipe import Source
from tests.preparation.photos import encoded, picture

KEY = "0123456789abcdef0123456789abcdef"

# Sends both libraries to the stand-in; a child process has no other way to be told.
SITE = """
import os
from kagglesdk import kaggle_env
for name in kaggle_env.KaggleEnv:
    kaggle_env._env_to_endpoint[name] = os.environ["STAND_IN"]
"""


class StandIn(ThreadingHTTPServer):
    """Serves every dataset as one archive; keeps what it was asked and by whom."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = b""
        self.status = 200
        self.asked: list[tuple[str, dict[str, Any], str]] = []


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        method = self.path.rpartition("/")[2]
        self.server.asked.append((method, body, self.headers.get("Authorization", "")))
        if self.server.status != 200:
            self._send(self.server.status, "application/json", b'{"message": "no"}')
        elif method == "GetDataset":
            self._send(200, "application/json", b'{"currentVersionNumber": 3}')
        else:
            self._send(200, "application/zip", self.server.archive)

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def archive(names: list[str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for seed, name in enumerate(names):
            file.writestr(name, encoded(picture(seed)))
    return data.getvalue()


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """A user without credentials, in a folder of their own."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def server(tmp_path, monkeypatch):
    with StandIn() as server:
        server.archive = archive(["yoga/poses/tree/a.jpg", "yoga/poses/tree/b.jpg", "yoga/poses/cobra/a.jpg"])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        point_to(f"http://127.0.0.1:{server.server_port}", tmp_path, monkeypatch)
        yield server
        server.shutdown()


def point_to(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("STAND_IN", address)


def source(dataset: str = "owner/yoga") -> Source:
    return Source(kind="kaggle", dataset=dataset)


def litter(tmp_path: Path) -> list[str]:
    """What lies where nothing may be left."""
    return [str(path) for folder in ("work", "home") for path in (tmp_path / folder).rglob("*")]


def test_without_credentials_kagglehub_fetches_once(server, tmp_path):
    folder = fetch(source())
    assert folder == tmp_path / "cache" / "kaggle" / "owner" / "yoga"
    found = listing(source(), 1)
    assert found.classes == ("cobra", "tree")
    assert found.items[1].path.read_bytes() == encoded(picture(0))
    assert [(method, who) for method, _, who in server.asked] == [("GetDataset", ""), ("DownloadDataset", "")]
    assert {"ownerSlug": "owner", "datasetSlug": "yoga"}.items() <= server.asked[1][1].items()
    assert fetch(source()) == folder
    assert len(server.asked) == 2
    assert sorted(path.name for path in folder.parent.iterdir()) == [".yoga.lock", "yoga"]
    assert litter(tmp_path) == []


def test_two_at_once_download_once(monkeypatch):
    downloads = []

    def download(dataset, folder, user):
        downloads.append(dataset)
        (folder / "yoga").mkdir()
        (folder / "yoga" / "a.jpg").write_bytes(b"a")

    monkeypatch.setattr(kaggle, "_download", download)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(fetch, [source()] * 2)
    assert one == other and one.is_dir()
    assert downloads == ["owner/yoga"]


def test_with_credentials_opendatasets_fetches_and_leaves_no_trace_of_them(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    fetch(source())
    assert listing(source(), 1).classes == ("cobra", "tree")
    ((method, _, who),) = server.asked
    assert method == "DownloadDataset"
    assert base64.b64decode(who.removeprefix("Basic ")).decode() == f"me:{KEY}"
    out, err = capfd.readouterr()
    assert out == "" and KEY not in err
    assert litter(tmp_path) == []
    assert not [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".json", ".zip")]


def test_an_access_token_goes_to_kagglehub(server, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_token")
    fetch(source())
    assert {who for _, _, who in server.asked} == {"Bearer KGAT_token"}


@pytest.mark.parametrize(
    ("status", "known", "message"),
    [
        (404, False, "Kaggle knows no dataset 'owner/yoga'"),
        (403, True, "Kaggle refuses the credentials from KAGGLE_USERNAME and KAGGLE_KEY"),
        (403, False, "Kaggle refuses a visitor without credentials"),
    ],
)
def test_refusals_are_one_sentence_with_a_way_out(server, tmp_path, monkeypatch, status, known, message):
    if known:
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", KEY)
    server.status = status
    with pytest.raises(KaggleError, match=message) as raised:
        fetch(source())
    text = str(raised.value)
    assert "--source FOLDER" in text and "headstand demo" in text and "\n" not in text and KEY not in text
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".yoga.lock"]
    assert litter(tmp_path) == []


def test_a_broken_archive_leaves_nothing_and_the_next_call_succeeds(server, tmp_path):
    whole, server.archive = server.archive, server.archive[:200]
    with pytest.raises(KaggleError, match="the download of the Kaggle dataset 'owner/yoga' broke"):
        fetch(source())
    assert [path.name for path in (tmp_path / "cache" / "kaggle" / "owner").iterdir()] == [".yoga.lock"]
    server.archive = whole
    assert listing(source(), 1).classes == ("cobra", "tree")


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    point_to("http://127.0.0.1:1", tmp_path, monkeypatch)
    with pytest.raises(KaggleError, match="Kaggle cannot be reached for the dataset 'owner/yoga': check the network"):
        fetch(source())


def test_a_dataset_in_the_cache_needs_no_network(tmp_path):
    (tmp_path / "cache" / "kaggle" / "owner" / "yoga").mkdir(parents=True)
    assert fetch(source()) == tmp_path / "cache" / "kaggle" / "owner" / "yoga"


def write(folder: Path, user: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kaggle.json").write_text(json.dumps({"username": user, "key": KEY}))


def test_credentials_are_found_wherever_kaggles_tools_keep_them(tmp_path, monkeypatch):
    assert credentials() is None
    home = tmp_path / "home"
    for folder in (home / ".config" / "kaggle", home / ".kaggle", tmp_path / "configured", tmp_path / "work"):
        write(folder, folder.name)
        if folder.name == "configured":
            monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(folder))
        found = credentials()
        assert found is not None
        assert (found.username, found.key, found.origin) == (folder.name, KEY, str(folder / "kaggle.json"))
    monkeypatch.setenv("KAGGLE_USERNAME", "env")
    assert credentials().username == "work"
    monkeypatch.setenv("KAGGLE_KEY", "other")
    assert credentials() == kaggle.Credentials("env", "other", "KAGGLE_USERNAME and KAGGLE_KEY")
    assert "other" not in repr(credentials())


@pytest.mark.parametrize("text", ["", KEY, f'["{KEY}"]', f'{{"key": "{KEY}"}}', "null"])
def test_a_file_that_holds_no_credentials_is_named_without_its_content(text):
    Path("kaggle.json").write_text(text)
    with pytest.raises(KaggleError, match=r"kaggle\.json does not hold a Kaggle user name and key") as raised:
        fetch(source())
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None

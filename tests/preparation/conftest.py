"""An empty cache for each test, and a stand-in for S3 on loopback."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEADSTAND_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The stand-in's address; what tests leave in it they must clear away."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        # One loader for all clients: each new one parses the descriptions of all services again.
        botocore = pytest.importorskip("botocore.session")
        patch.setattr(botocore, "create_loader", cache(botocore.create_loader))
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_account(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's account on the stand-in; no configuration of the machine is read."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

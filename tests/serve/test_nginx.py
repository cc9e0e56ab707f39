"""deploy/nginx.conf, tested with nginx itself in front of the service."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from tests.serve.service import PATIENCE, ROOT, Service, post, receive, running, until

PHOTO = tiny.photo((200, 100, 0))
CONFIGURATION = ROOT / "deploy" / "nginx.conf"


@pytest.fixture(scope="module")
def services(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """The service, and the same behind nginx, which lets each client send as many requests as it likes."""
    folder = tmp_path_factory.mktemp("nginx")
    text = CONFIGURATION.read_text()
    assert "rate=10r/s;" in text
    with running(model, folder / "run", WEB_CONCURRENCY="1") as service:
        with proxied(service, folder, text.replace("rate=10r/s;", "rate=9999r/s;")) as proxy:
            yield service, proxy


@contextmanager
def proxied(service: Service, folder: Path, configuration: str) -> Iterator[Service]:
    """The service behind nginx with `deploy/nginx.conf`, or a variant of it."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    assert "listen 80;" in configuration and "server 127.0.0.1:8000;" in configuration
    temporary = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = configuration.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(":8000;", f":{service.port};")
    (folder / "headstand.conf").write_text(text)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder / 'pid'}; error_log {folder / 'error'}; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder / 'headstand.conf'}; }}\n"
    )
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    proxy = replace(service, port=port)

    def ready() -> bool:
        assert process.poll() is None, (folder / "error").read_text()
        try:
            proxy.connect().close()
        except ConnectionError:
            return False
        return True

    try:
        until(ready)
        yield proxy
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_predictions_and_errors_pass_through(services: tuple[Service, Service]) -> None:
    _, proxy = services
    answer = proxy.ask("POST", "/predict", PHOTO, **{"X-Request-ID": "mine"})
    assert answer.status == 200 and answer.headers["X-Request-ID"] == "mine"
    assert answer.json == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-4)
    assert proxy.ask("POST", "/predict", b"words").json["code"] == "not_an_image"


def test_metrics_are_not_for_clients(services: tuple[Service, Service]) -> None:
    service, proxy = services
    assert proxy.ask("GET", "/metrics").status == 403
    assert service.ask("GET", "/metrics").status == 200


def test_a_request_reaches_the_service_only_when_it_is_complete(services: tuple[Service, Service]) -> None:
    service, proxy = services
    with proxy.connect(post(PHOTO[:50], length=len(PHOTO))) as slow:
        assert proxy.ask("POST", "/predict", PHOTO).status == 200
        (worker,) = service.workers()
        # One connection at most: the one that nginx keeps.
        assert len([item for item in worker.net_connections("tcp") if item.raddr]) <= 1
        slow.sendall(PHOTO[50:])
        assert b"200 OK" in receive(slow)
    with proxy.connect(post(b"", length=2**30)) as large:
        assert b" 413 " in receive(large)


def test_a_client_that_asks_too_often_is_refused_by_nginx(services: tuple[Service, Service], tmp_path: Path) -> None:
    service, _ = services
    with proxied(service, tmp_path, CONFIGURATION.read_text()) as proxy:
        statuses = {proxy.ask("GET", "/healthz").status for _ in range(100)}
    assert statuses == {200, 429}

"""`python -m headstand page`: the web page of the service for a model that is deployed elsewhere, such as on Lambda.

The page is static. It is served on this machine only, or written into a folder for upload to a bucket.
"""

import functools
import http.server
import tempfile
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from headstand.errors import HeadstandError
from headstand.serve import bundle as bundles
from headstand.serve.bundle import Bundle
from headstand.serve.classifier import default_model
from headstand.serve.page import markup

LIMIT = 4_500_000
"""Largest image in bytes: Lambda events are limited to 6 MB, and contain the image in base64
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""


def run(endpoint: str, path: Path | None, output: Path | None, port: int) -> None:
    """Serves the page until Ctrl-C, or writes it.

    Args:
        endpoint: URL of the predictions.
        path: the bundle that is deployed there; by default the one that is served here.
        output: folder to write the page into, instead of serving it.
        port: port on this machine.

    Raises:
        HeadstandError: the endpoint is not a URL, does not respond, or serves another model.
    """
    model = bundles.read(path or default_model())
    _check(endpoint, model)
    if output:
        for file in markup.write(output, model, endpoint, limit=LIMIT):
            print(file)
        print(f"to upload it to a bucket: aws s3 sync {output} s3://BUCKET/")
        return
    with tempfile.TemporaryDirectory() as folder:
        markup.write(Path(folder), model, endpoint, limit=LIMIT)
        with server(Path(folder), port) as page:
            print(
                f"http://127.0.0.1:{page.server_port}/ sends pictures to {endpoint}; stop it with Ctrl-C",
                flush=True,
            )
            try:
                page.serve_forever()
            except KeyboardInterrupt:
                print()


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Returns an HTTP server of the written page that listens on 127.0.0.1 only.

    Raises:
        HeadstandError: the port is not available.
    """
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise HeadstandError(f"cannot listen on port {port}: {error}; choose another with --port") from error


class _Handler(http.server.SimpleHTTPRequestHandler):
    # Media types by extension, because the system's table differs between machines.
    extensions_map = {  # noqa: RUF012 - as the base class has it
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        **{Path(name).suffix: kind for name, kind in markup.ASSETS.items()},
        **markup.SAMPLE_TYPES,
    }

    def log_message(self, format: str, *args: object) -> None:
        """Suppresses the request log: the result is visible in the browser."""


def _check(endpoint: str, model: Bundle) -> None:
    """Checks that the endpoint serves a model with the same labels as the bundle.

    Raises:
        HeadstandError: the endpoint is not a URL, does not respond, or has other labels.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HeadstandError(f"--endpoint must be a complete URL, https://.../predict, not {endpoint!r}")
    address = urljoin(endpoint, "model")
    with requests.Session() as session:
        # A proxy configured in the environment cannot reach this machine's own ports.
        session.trust_env = parts.hostname not in ("localhost", "127.0.0.1", "::1")
        try:
            found = session.get(address, timeout=60).json()
        except requests.ConnectionError:
            raise HeadstandError(f"no response from {address}") from None
        except (requests.RequestException, ValueError):
            raise HeadstandError(f"{address} does not describe a model: is {endpoint} the right URL?") from None
    labels = found.get("labels") if isinstance(found, dict) else None
    if labels != list(model.labels):
        raise HeadstandError(
            f"{endpoint} has other labels than {model.path}: set --model to the bundle that was deployed"
        )

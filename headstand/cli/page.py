"""`python -m headstand page`: the web page of the service for a model that is deployed elsewhere, such as on Lambda.

The page is static. It is served on this machine only, or written into a folder for upload to a bucket.
"""

import functools
import http.server
import tempfile
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from headstand.cli.command import Parser
from headstand.errors import HeadstandError
from headstand.serve import bundle as bundles
from headstand.serve.bundle import Bundle
from headstand.serve.classifier import default_model
from headstand.serve.page import markup

LIMIT = 4_500_000
"""Largest image in bytes: Lambda events are limited to 6 MB, and contain the image in base64
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""


def run(arguments: list[str]) -> None:
    """Serves the page until Ctrl-C, or writes it, as the command line specifies.

    Raises:
        HeadstandError: the endpoint is not a URL, does not respond, or serves another model.
    """
    parser = Parser("python -m headstand page", "The web page of a deployed model.")
    parser.add_argument(
        "--endpoint", required=True, metavar="URL", help="URL that pictures are sent to, as printed by deploy"
    )
    parser.add_argument("--model", type=Path, help="the bundle that is deployed there; by default the shipped one")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="write the page into this folder instead of serving it"
    )
    parser.add_argument("--port", type=int, default=8001, help="port on this machine")
    options = parser.parse_args(arguments)
    model = bundles.read(options.model or default_model())
    _check(options.endpoint, model)
    if options.output:
        for path in markup.write(options.output, model, options.endpoint, limit=LIMIT):
            print(path)
        print(f"to upload it to a bucket: aws s3 sync {options.output} s3://BUCKET/")
        return
    with tempfile.TemporaryDirectory() as folder:
        markup.write(Path(folder), model, options.endpoint, limit=LIMIT)
        with server(Path(folder), options.port) as page:
            print(
                f"http://127.0.0.1:{page.server_port}/ sends pictures to {options.endpoint}; stop it with Ctrl-C",
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

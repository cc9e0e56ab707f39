"""Emulates API Gateway's HTTP API in front of the function: requests become events of format 2.0."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from headstand.serve.lambda_handler import LambdaFunction

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_2.json").read_text())


@contextmanager
def gateway(function: LambdaFunction) -> Iterator[str]:
    """Yields the URL for images. Preflights are passed to the function, as by a function URL without CORS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            text = "json" in (self.headers.get("Content-Type") or "")
            context = {**EVENT["requestContext"], "stage": "$default"}
            answer = function.handle(EVENT | {
                "rawPath": parts.path,
                "rawQueryString": parts.query,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "requestContext": context | {"http": {**context["http"], "method": self.command, "path": parts.path}},
                "body": body.decode() if text else base64.b64encode(body).decode(),
                "isBase64Encoded": not text,
            })  # fmt: skip
            self.send_response(answer["statusCode"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            sent = answer["body"].encode()
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_OPTIONS = answer

        def log_message(self, *args: object) -> None:
            """Suppresses the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predict"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

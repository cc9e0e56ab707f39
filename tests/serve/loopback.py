"""`gunicorn tests.serve.loopback:app`: the service, with permission to download from this machine."""

from headstand.serve import download
from headstand.serve.flask_app import create_app


def fetch(url: str) -> bytes:
    if url == "fault":
        raise RuntimeError("inside")
    return download.fetch(url, allow_loopback=True, timeout=60.0)


app = create_app(fetch=fetch)

"""`gunicorn tests.serve.offline:app`: the service as it is, but for downloads, which lead nowhere."""

from headstand.serve.refusal import DownloadError
from headstand.serve.web import create_app


def fetch(url: str) -> bytes:
    raise DownloadError("download_failed", "the download failed: the host cannot be reached")


app = create_app(fetch=fetch)

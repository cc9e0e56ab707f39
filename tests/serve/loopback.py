"""`gunicorn tests.serve.loopback:app`: the service, with permission to download from this machine."""

from functools import partial

from headstand.serve.download import fetch
from headstand.serve.flask_app import create_app

app = create_app(fetch=partial(fetch, allow_loopback=True, timeout=60.0))

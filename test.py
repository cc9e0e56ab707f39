"""Send one image to a running service.

python test.py [IMAGE_OR_URL] [--endpoint URL]

The default endpoint is the Lambda container on this machine (`docker run -p 8080:8080 headstand`); that of the Flask
service is http://localhost:8000/predict. A file is sent as base64, a URL unchanged. If HEADSTAND_API_KEY is set, it is
sent, too. The default image is a photo of a tree pose from Wikimedia Commons (by Nina Mel, CC BY-SA 3.0).
"""

import base64
import json
import os
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit

import requests

from headstand.cli import command
from headstand.errors import HeadstandError

ENDPOINT = "http://localhost:8080/2015-03-31/functions/function/invocations"
IMAGE = "https://upload.wikimedia.org/wikipedia/commons/7/72/Vriksasana_Yoga-Asana_Nina-Mel.jpg"


def main(argv: list[str]) -> None:
    """Posts the image and prints `{class: probability}`."""
    parser = command.Parser("python test.py", __doc__)
    parser.add_argument("image", nargs="?", default=IMAGE, metavar="IMAGE_OR_URL")
    parser.add_argument("--endpoint", default=ENDPOINT, metavar="URL")
    options = parser.parse_args(argv)
    print(json.dumps(request(options.endpoint, payload(options.image)), indent=2))


def payload(image: str) -> dict[str, str]:
    """Returns the fields of a request: a URL for the service to download, or a file's bytes in base64."""
    if image.startswith(("http://", "https://")):
        return {"url": image}
    return {"image": base64.b64encode(Path(image).read_bytes()).decode()}


def request(endpoint: str, fields: dict[str, str]) -> dict[str, float]:
    """Posts the fields and returns the probabilities by class.

    Raises:
        HeadstandError: there is no response, or it is an error.
    """
    with requests.Session() as session:
        # A proxy configured in the environment cannot reach this machine's own ports.
        session.trust_env = urlsplit(endpoint).hostname not in ("localhost", "127.0.0.1", "::1")
        # The first key, if the variable is the service's own.
        if key := os.environ.get("HEADSTAND_API_KEY", "").partition(",")[0].strip():
            session.headers["Authorization"] = f"Bearer {key}"
        try:
            response = session.post(endpoint, json=fields, timeout=60)
        except requests.ConnectionError:
            raise HeadstandError(f"no response from {endpoint}: start it, or use another --endpoint") from None
        except requests.RequestException as error:
            raise HeadstandError(f"the request to {endpoint} failed: {error}") from None
    try:
        result = response.json()
    except ValueError:
        result = None
    if isinstance(result, dict) and isinstance(result.get("detail"), str):  # a problem of the HTTP service
        raise HeadstandError(f"{result.get('code', response.status_code)}: {result['detail']}")
    if isinstance(result, dict) and isinstance(result.get("error"), dict):  # a problem of the function
        raise HeadstandError("{code}: {detail}".format_map({"code": "?", "detail": "?", **result["error"]}))
    if isinstance(result, dict) and "errorMessage" in result:  # a handler that raised, in Lambda's format
        raise HeadstandError(f"the function failed: {result['errorMessage']}")
    if response.status_code != 200 or not _is_prediction(result):
        raise HeadstandError(f"{endpoint} returned status {response.status_code} and no probabilities")
    return result


def _is_prediction(result: object) -> TypeGuard[dict[str, float]]:
    return isinstance(result, dict) and bool(result) and all(isinstance(p, int | float) for p in result.values())


if __name__ == "__main__":
    command.run(main)

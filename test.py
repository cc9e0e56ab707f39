"""Ask a running service about one image.

python test.py [IMAGE_OR_URL] [--endpoint URL]

Without an endpoint it is the Lambda container on this machine (`docker run -p 8080:8080 headstand`); the Flask service
is `--endpoint http://localhost:8000/predict`. A file is sent as base64, a URL as it is. Without an image it is a
photo of a tree pose from Wikimedia Commons (by Nina Mel, CC BY-SA 3.0).
"""

import argparse
import base64
import json
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit

import requests

from headstand.cli import command
from headstand.errors import HeadstandError

ENDPOINT = "http://localhost:8080/2015-03-31/functions/function/invocations"
IMAGE = "https://upload.wikimedia.org/wikipedia/commons/7/72/Vriksasana_Yoga-Asana_Nina-Mel.jpg"


def main(words: list[str]) -> None:
    """Post the image and print `{class: probability}`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", default=IMAGE, metavar="IMAGE_OR_URL")
    parser.add_argument("--endpoint", default=ENDPOINT, metavar="URL")
    options = parser.parse_args(words)
    print(json.dumps(ask(options.endpoint, payload(options.image)), indent=2))


def payload(image: str) -> dict[str, str]:
    """What to send: a URL for the service to fetch, or a file's bytes."""
    if image.startswith(("http://", "https://")):
        return {"url": image}
    return {"image": base64.b64encode(Path(image).read_bytes()).decode()}


def ask(endpoint: str, fields: dict[str, str]) -> dict[str, float]:
    """Post the fields; the answer, or HeadstandError with what the service said instead of one."""
    with requests.Session() as session:
        # A proxy that the environment names does not know this machine's own ports.
        session.trust_env = urlsplit(endpoint).hostname not in ("localhost", "127.0.0.1", "::1")
        try:
            response = session.post(endpoint, json=fields, timeout=60)
        except requests.ConnectionError:
            raise HeadstandError(f"nothing answers at {endpoint}; start the service, or name it: --endpoint") from None
        except requests.RequestException as error:
            raise HeadstandError(f"cannot ask {endpoint}: {error}") from None
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("detail"), str):  # a problem, as the HTTP service tells it
        raise HeadstandError(f"{answer.get('code', response.status_code)}: {answer['detail']}")
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):  # the same, as the function tells it
        raise HeadstandError("{code}: {detail}".format_map({"code": "?", "detail": "?", **answer["error"]}))
    if isinstance(answer, dict) and "errorMessage" in answer:  # how Lambda tells of a handler that raised
        raise HeadstandError(f"the function failed: {answer['errorMessage']}")
    if response.status_code != 200 or not _is_answer(answer):
        raise HeadstandError(f"{endpoint} answered with status {response.status_code} and no classes")
    return answer


def _is_answer(answer: object) -> TypeGuard[dict[str, float]]:
    return isinstance(answer, dict) and bool(answer) and all(isinstance(p, int | float) for p in answer.values())


if __name__ == "__main__":
    command.run(main)

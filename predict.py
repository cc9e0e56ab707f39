"""Classify images, at the command line or over HTTP.

python predict.py IMAGE [IMAGE ...]     one line of JSON for each file or URL: {class: probability}, highest first
gunicorn predict:app                    serve: POST /predict with {"url": ...}, {"image": base64}, a file or the bytes

The model is models/yoga6/yoga6.tflite, or the file that HEADSTAND_MODEL names.
"""

import json
from pathlib import Path
from typing import Any

from headstand.cli import command
from headstand.errors import HeadstandError
from headstand.images import ImageError
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.download import fetch
from headstand.serve.download.refusal import DownloadError
from headstand.serve.payload import described


def main(words: list[str]) -> None:
    """Print one line for each image, so that the lines match the words; fail at the end if any was unusable."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.strip() if __doc__ else "")
        return
    classifier = Classifier(default_model())
    failed = 0
    for word in words:
        try:
            image = fetch(word) if word.startswith(("http://", "https://")) else Path(word)
            print(json.dumps(classifier.predict(image).probabilities), flush=True)
        except (ImageError, DownloadError) as error:
            print(json.dumps(described(error)), flush=True)
            failed += 1
    if failed:
        raise HeadstandError(f"{failed} of {len(words)} images cannot be used")


def __getattr__(name: str) -> Any:
    """Creates `app` when gunicorn asks for it: importing this module for `main` loads no model."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headstand.serve.flask_app import served

    globals()[name] = app = served()
    return app


if __name__ == "__main__":
    command.run(main)

"""Classify images, at the command line or over HTTP.

python predict.py IMAGE [IMAGE ...]     one line of JSON for each file or URL: {class: probability}, highest first;
                                        a line on standard error for each that is unlike the training photos
python predict.py --model MODEL IMAGE   the same with another model
gunicorn predict:app                    serve: POST /predict with {"url": ...}, {"image": base64}, a file or the bytes

The model is models/yoga6/yoga6.tflite, or the file that --model or HEADSTAND_MODEL names.
"""

import json
import sys
from typing import Any

from headstand.cli import command
from headstand.cli.predict import described, results
from headstand.serve.classifier import Classifier, Prediction, default_model


def main(arguments: list[str]) -> None:
    """Prints one line for each image, in the order of the arguments; fails at the end if any image is unusable."""
    parser = command.Parser("python predict.py", __doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file or URL")
    parser.add_argument("--model", help="a .tflite file")
    options = parser.parse_args(arguments or ["--help"])
    classifier = Classifier(options.model or default_model())
    print(f"model: {classifier.bundle.path}", file=sys.stderr)
    for name, result in results(classifier, options.images):
        if not isinstance(result, Prediction):
            print(json.dumps(described(result)), flush=True)
            continue
        print(json.dumps(result.probabilities), flush=True)
        if result.known is False:
            print(f"unknown input: {name} is unlike the photos the model was trained on", file=sys.stderr)


def __getattr__(name: str) -> Any:
    """Creates `app` when gunicorn asks for it, anew each time: importing this module for `main` loads no model."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headstand.serve.flask_app import served

    return served()


if __name__ == "__main__":
    command.run(main)

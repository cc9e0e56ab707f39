"""AWS Lambda handler: `lambda_function.lambda_handler`, as the Dockerfile names it.

The model is loaded and used once when the function starts, where Lambda gives most CPU, and not with the first event.
"""

import logging
import os
import sys
import urllib
from importlib import util
from typing import Any

# NumPy's linear algebra, which nothing here uses, would start a thread for each core: half of NumPy's import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# keras-image-helper imports urllib.request for downloads of its own, which nobody asks it for: with HTTP, e-mail and
# TLS behind it a tenth of the start. It is loaded when something first looks into it.
if "urllib.request" not in sys.modules and (spec := util.find_spec("urllib.request")) and spec.loader:
    spec.loader = util.LazyLoader(spec.loader)
    sys.modules[spec.name] = module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Where `from urllib import request` finds it; an import by its name would look into it.
    urllib.request = module

from headstand.serve import logs
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.lambda_handler import LambdaFunction, chosen

if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # elsewhere the log is not ours to arrange
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logs.EndedLine())
    logging.getLogger(logs.REQUESTS).setLevel(logging.INFO)

limits = chosen()
# Nobody can write to the image's files; and who waits for the first answer need not wait for all formats' decoders.
classifier = Classifier(default_model(), threads=limits.threads, mapped=True)
classifier.warm(["JPEG"])
function = LambdaFunction(classifier, limits)


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Classify the image of `{"url": ...}`, `{"image": base64}` or an HTTP event: `{class: probability}`."""
    return function.handle(event, context)

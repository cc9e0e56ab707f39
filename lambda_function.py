"""AWS Lambda handler: `lambda_function.lambda_handler`, as the Dockerfile names it.

The model is loaded and run once when the function starts, when Lambda provides the most CPU, not with the first event.
"""

import logging
import os
import sys
import urllib
from importlib import util
from typing import Any

# NumPy's linear algebra, which is not used here, would start a thread for each core: half of NumPy's import time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# keras-image-helper imports urllib.request for downloads, which are not used here. With HTTP, e-mail and TLS it takes a
# tenth of the start, so it is loaded when it is first used.
if "urllib.request" not in sys.modules and (spec := util.find_spec("urllib.request")) and spec.loader:
    spec.loader = util.LazyLoader(spec.loader)
    sys.modules[spec.name] = module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # For `from urllib import request`; an import by its full name would load it.
    urllib.request = module

from headstand.serve import logs
from headstand.serve.classifier import Classifier, default_model
from headstand.serve.lambda_handler import LambdaFunction, chosen

if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # elsewhere the caller configures the log
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logs.EndedLine())
    logging.getLogger(logs.REQUESTS).setLevel(logging.INFO)

limits = chosen()
# The container's files are read-only, so the model can be mapped. Only the decoder of JPEG is warmed up, so that the
# first response does not wait for those of all formats.
classifier = Classifier(default_model(), threads=limits.threads, mapped=True)
classifier.warm(["JPEG"])
function = LambdaFunction(classifier, limits)


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Classifies the image of `{"url": ...}`, `{"image": base64}` or an HTTP event: `{class: probability}`."""
    return function.handle(event, context)

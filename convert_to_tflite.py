"""Convert a trained model to the one file that is served.

    python convert_to_tflite.py                                   the newest run's best checkpoint
    python convert_to_tflite.py runs/yoga6/TIME/yoga6_08_0.862.h5      or its run's folder, runs/yoga6/TIME
    python convert_to_tflite.py --format best                     the fastest format that gives the same predictions
    python convert_to_tflite.py --format onnx                     NAME.onnx for other programs, checked in the same way
    python convert_to_tflite.py any.keras --labels labels.txt --preprocess caffe    a model not trained by Headstand

The .tflite with its labels inside, the certificate NAME.parity.json and labels.txt are written beside the checkpoint.
Nothing is written if the converted model predicts differently from the trained model on the test photos.
"""

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from headstand.cli import command
from headstand.runs import RunError, checkpoint_in, newest_checkpoint

FORMATS = ("float32", "float16", "dynamic", "int8", "best", "onnx")


def main(argv: list[str]) -> None:
    """Converts the model that the command line names."""
    parser = argparse.ArgumentParser(
        "convert_to_tflite.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="a checkpoint or a run's folder; by default the newest run")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="float32",
        help="best: the fastest .tflite that passes; onnx: an ONNX file, which the services do not load",
    )
    parser.add_argument(
        "--representative",
        type=int,
        default=300,
        metavar="N",
        help="training photos for the ranges of int8",
    )
    parser.add_argument(
        "--force", action="store_true", help="write the bundle although its predictions differ, marked as failed"
    )
    parser.add_argument("--verbose", action="store_true", help="show the output of TensorFlow's converter")
    other = parser.add_argument_group("a model that was not trained by Headstand, .h5 or .keras")
    other.add_argument("--labels", type=Path, metavar="FILE", help="class names in output order: one per line, or JSON")
    other.add_argument(
        "--preprocess", choices=("xception", "caffe", "torch", "none"), help="scaling of pixels 0..255 before the model"
    )
    other.add_argument("--size", type=int, metavar="PIXELS", help="side of its input, if the model does not fix it")
    other.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="photos for the comparison; if its subfolders are named like the labels, the accuracy is measured too",
    )
    arguments = parser.parse_args(argv)
    foreign = {name: getattr(arguments, name) for name in ("labels", "preprocess", "size", "photos")}
    if any(foreign.values()) and not (arguments.model and arguments.labels and arguments.preprocess):
        parser.error("a model that was not trained by Headstand needs MODEL, --labels FILE and --preprocess")
    if arguments.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    path = arguments.model or newest_checkpoint()
    if not arguments.labels:
        path = checkpoint_in(path) if path.is_dir() else path
        if not path.exists():
            raise RunError(f"there is no checkpoint {path}; `python train.py` makes one")
    # Imported here because TensorFlow takes seconds to import, and a wrong argument should be reported at once.
    import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow, which the next line would import
    from headstand.export import exporting, importing

    print(f"converting {path}", flush=True)
    options: dict[str, Any] = {
        "kind": arguments.format,
        "representative": arguments.representative,
        "force": arguments.force,
        "log": lambda line: print(line, flush=True),
    }
    convert = importing.import_model if arguments.labels else exporting.export
    result = convert(path, **options, **(foreign if arguments.labels else {}))
    print(result.summary)
    if arguments.format != "onnx":
        print(f"serve it   HEADSTAND_MODEL={shlex.quote(str(result.bundle))} gunicorn predict:app")


if __name__ == "__main__":
    command.run(main)

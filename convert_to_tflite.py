"""Convert a trained model to the one file that is served.

    python convert_to_tflite.py                                   the newest run's best checkpoint
    python convert_to_tflite.py runs/yoga6/TIME/yoga6_08_0.862.h5      or its run's folder, runs/yoga6/TIME
    python convert_to_tflite.py --format best                     the fastest format that answers alike
    python convert_to_tflite.py any.keras --labels labels.txt --preprocess caffe    a model that Headstand did not train

The .tflite with its labels inside, NAME.parity.json, its certificate, and labels.txt are written beside the checkpoint.
Nothing is written if it answers the test photos differently from the trained model.
"""

import argparse
import os
import shlex
from pathlib import Path

from headstand.cli import command

FORMATS = ("float32", "float16", "dynamic", "int8", "best")


def main(words: list[str]) -> None:
    """Convert the checkpoint that `words` name."""
    parser = argparse.ArgumentParser(
        "convert_to_tflite.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", nargs="?", type=Path, help="a checkpoint or a run's folder; the newest run's when left out"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="float32", help="best: all are tried, and the fastest that passes is taken"
    )
    parser.add_argument(
        "--representative", type=int, default=300, metavar="N", help="training photos that int8 takes its ranges from"
    )
    parser.add_argument(
        "--force", action="store_true", help="write it although it answers differently, marked as failed"
    )
    parser.add_argument("--verbose", action="store_true", help="show all that TensorFlow's converter says")
    other = parser.add_argument_group("a model that Headstand did not train, .h5 or .keras")
    other.add_argument("--labels", type=Path, metavar="FILE", help="its labels: one a line in its order, or JSON")
    other.add_argument(
        "--preprocess", choices=("xception", "caffe", "torch", "none"), help="what it wants done to pixels 0..255"
    )
    other.add_argument("--size", type=int, metavar="PIXELS", help="side of its input, where the model leaves it open")
    other.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="to compare on; in folders named like the labels, the accuracy is measured too",
    )
    arguments = parser.parse_args(words)
    strange = {name: getattr(arguments, name) for name in ("labels", "preprocess", "size", "photos")}
    if any(strange.values()) and not (arguments.model and arguments.labels and arguments.preprocess):
        parser.error("a model that Headstand did not train needs MODEL, --labels FILE and --preprocess")
    if arguments.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    # TensorFlow takes seconds to import; a mistyped option is told before.
    import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow, which the next line would import aloud
    from headstand.export import exporting, importing
    from headstand.runs import checkpoint_in, newest_checkpoint

    path = arguments.model or newest_checkpoint()
    if path.is_dir() and not arguments.labels:
        path = checkpoint_in(path)
    print(f"converting {path}", flush=True)
    how = {
        "kind": arguments.format,
        "representative": arguments.representative,
        "force": arguments.force,
        "tell": lambda line: print(line, flush=True),
    }
    made = importing.import_model(path, **strange, **how) if arguments.labels else exporting.export(path, **how)
    print(made.words)
    print(f"serve it   HEADSTAND_MODEL={shlex.quote(str(made.bundle))} gunicorn predict:app")


if __name__ == "__main__":
    command.run(main)

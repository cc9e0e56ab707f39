"""Command `convert` and the script `convert_to_tflite.py`: a trained model to the one file that is served."""

import os
import shlex
from pathlib import Path
from typing import Any

from headstand.cli.command import UsageError
from headstand.errors import HeadstandError
from headstand.runs import RunError, checkpoint_in, newest_checkpoint, read_report
from headstand.serve import bundle as bundles


def run(
    model: Path | None, *, script: bool, kind: str, representative: int, force: bool, verbose: bool, **foreign: Any
) -> None:
    """Converts a model and prints the result, and the commands that try and serve it.

    Args:
        model: a checkpoint or a run's folder; None for the newest run.
        script: print the commands of the scripts and not of `headstand`.
        kind: format of the bundle.
        representative: number of photos for the quantization ranges.
        force: write the bundle even if it fails the comparison.
        verbose: show the output of TensorFlow's converter.
        foreign: `labels`, `preprocess`, `size` and `photos` of a model that was not trained by Headstand, else None.

    Raises:
        HeadstandError: the arguments are not complete, there is no such model, or the conversion fails.
    """
    labels = foreign["labels"]
    if any(foreign.values()) and not (model and labels and foreign["preprocess"]):
        raise UsageError("a model that was not trained by Headstand needs MODEL, --labels FILE and --preprocess")
    if verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    path = model or newest_checkpoint()
    if not labels:
        path = checkpoint_in(path) if path.is_dir() else path
        if not path.exists():
            raise RunError(f"there is no checkpoint {path}: `python -m headstand train PHOTOS` trains a model")
    # Imported here because TensorFlow takes seconds to import, and a wrong argument should be reported at once.
    import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow, which the next line would import
    from headstand.export import exporting, importing

    print(f"converting {path}{_measured(path)}", flush=True)
    options: dict[str, Any] = {
        "kind": kind,
        "representative": representative,
        "force": force,
        "log": lambda line: print(line, flush=True),
    }
    convert = importing.import_model if labels else exporting.export
    result = convert(path, **options, **(foreign if labels else {}))
    print(result.summary)
    if kind == "onnx":
        return
    bundle, photo = shlex.quote(str(result.bundle)), shlex.quote(_example(result.bundle))
    if script:
        print(f"try it     python predict.py --model {bundle} {photo}")
        print(f"serve it   HEADSTAND_MODEL={bundle} gunicorn predict:app")
    else:
        print(f"try it     headstand predict {bundle} {photo}")
        print(f"serve it   headstand serve {bundle}")


def _measured(checkpoint: Path) -> str:
    """Returns the test accuracy of a checkpoint, whose name has that on validation; empty if it was not measured."""
    try:
        report = read_report(checkpoint.parent)
        if report["scored"] != checkpoint.name:
            return ""
        return f" (accuracy on {report['test']['count']} test photos: {report['test']['accuracy']:.3f})"
    except (OSError, ValueError, KeyError, TypeError):  # no run's folder
        return ""


def _example(bundle: Path) -> str:
    """Returns a test photo of the dataset that a model was trained on; photo.jpg if it is not prepared here."""
    from headstand.preparation import manifest

    data = Path("data") / bundles.read(bundle).name
    try:
        return str(data / manifest.read(data).split("test")[0].path)
    except (HeadstandError, IndexError):
        return "photo.jpg"

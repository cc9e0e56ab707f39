"""Command `convert` and the script `convert_to_tflite.py`: a trained model to the one file that is served."""

import os
import shlex
from pathlib import Path
from typing import Any

from headstand.cli.command import UsageError
from headstand.runs import RunError, checkpoint_in, newest_checkpoint


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
            raise RunError(f"there is no checkpoint {path}; `python train.py` makes one")
    # Imported here because TensorFlow takes seconds to import, and a wrong argument should be reported at once.
    import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow, which the next line would import
    from headstand.export import exporting, importing

    print(f"converting {path}", flush=True)
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
    bundle = shlex.quote(str(result.bundle))
    if script:
        print(f"try it     python predict.py --model {bundle} photo.jpg")
        print(f"serve it   HEADSTAND_MODEL={bundle} gunicorn predict:app")
    else:
        print(f"try it     headstand predict {bundle} photo.jpg")
        print(f"serve it   headstand serve {bundle}")

"""Command line of `python -m headstand evaluate`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from headstand import naming
from headstand.errors import HeadstandError


class UsageError(HeadstandError):
    """Invalid or contradictory command-line arguments."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises a `UsageError`, so that the program exits with status 1 and one line, not with argparse's status 2."""
        raise UsageError(f"{message}; `python -m headstand evaluate --help` lists the words")


def run(words: Sequence[str]) -> None:
    """Evaluates a model, prints its metrics and writes a report into a folder.

    Args:
        words: command-line arguments after `evaluate`.

    Raises:
        HeadstandError: model or photos do not exist or do not fit each other, or `--output` is a file.
    """
    options = _parser().parse_args(words)
    if options.output and options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output} is a file: name a folder")
    # Importing TensorFlow takes seconds, so arguments are checked before. The first import suppresses its messages.
    import headstand.tensorflow_setup  # noqa: F401

    # isort: split
    from headstand import report
    from headstand.evaluate import model as models
    from headstand.evaluate import page, photos
    from headstand.evaluate.evaluate_model import evaluate_model

    # A model refitted on all splits cannot be evaluated on any of them, but it is the one to evaluate on other photos.
    model = models.load(models.find(options.model, refitted=options.folder is not None))
    about = model.about
    if options.folder:
        sample = photos.of_folder(options.folder, options.split, about)
    else:
        sample = photos.of_dataset(Path("data") / about.name, options.split or "test", about)
    print(f"model             {model.path} ({len(about.labels)} classes, {model.input.description})")
    print(f"photos            {len(sample.photos)}, {sample}", flush=True)
    made = evaluate_model(model, sample)
    folder = options.output or _new_folder(about.name)
    page.write(folder, made)

    low, high = made.scores.interval
    prefix = {"test": "test_", "validation": "val_"}.get(sample.split, "")
    print(f"{prefix}accuracy={made.scores.accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})\n")
    print(report.per_class(made.scores.per_class))
    print()
    print(report.figures(made.record["scores"]))
    print()
    print("\n".join(made.remarks))
    print(f"written           {folder / page.PAGE} and {folder / page.RECORD}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m headstand evaluate",
        description="Score a checkpoint or a bundle as training does, on a split of its prepared dataset or on a "
        "folder of other photos.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", metavar="RECIPE_OR_FILE", help="a .h5 or .tflite, or a recipe: the newest finished run's"
    )
    parser.add_argument("--split", choices=("validation", "test"), help="which part of a divided dataset; test")
    parser.add_argument("--folder", type=Path, help="photos in class folders, called as the model's classes")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the figures go; runs/NAME/evaluate-TIME")
    return parser


def _new_folder(name: str) -> Path:
    """Returns the path of a new folder for an evaluation."""
    from headstand.runs import root

    parent, prefix = root() / name, "evaluate-"
    return parent / naming.folder(prefix, (path.name for path in parent.glob(f"{prefix}*/")))

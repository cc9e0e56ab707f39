"""Command line of `python -m headstand evaluate`."""

from collections.abc import Sequence
from pathlib import Path

from headstand import naming
from headstand.cli.command import Parser, UsageError
from headstand.runs import root


def run(argv: Sequence[str]) -> None:
    """Evaluates a model, prints its metrics and writes a report into a folder.

    Args:
        argv: command-line arguments after `evaluate`.

    Raises:
        HeadstandError: model or photos do not exist or do not fit each other, or `--output` is a file.
    """
    options = _parser().parse_args(argv)
    if options.output and options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output} is a file: name a folder")
    # Importing TensorFlow takes seconds, so arguments are checked before. The first import suppresses its messages.
    import headstand.tensorflow_setup  # noqa: F401

    # isort: split
    from headstand import report
    from headstand.evaluation import evaluated_model as models
    from headstand.evaluation import evaluation_set
    from headstand.evaluation.evaluate_model import evaluate_model
    from headstand.report import evaluation_page

    # A model refitted on all splits cannot be evaluated on any of them, but it is the one to evaluate on other photos.
    model = models.load(models.find(options.model, refitted=options.folder is not None))
    about = model.about
    if options.folder:
        sample = evaluation_set.of_folder(options.folder, options.split, about)
    else:
        sample = evaluation_set.of_dataset(Path("data") / about.name, options.split or "test", about)
    print(f"model             {model.path} ({len(about.labels)} classes, {model.input.description})")
    print(f"photos            {len(sample.photos)}, {sample}", flush=True)
    result = evaluate_model(model, sample)
    folder = options.output or _new_folder(about.name)
    evaluation_page.write(folder, result)

    low, high = result.scores.interval
    prefix = {"test": "test_", "validation": "val_"}.get(sample.split, "")
    print(f"{prefix}accuracy={result.scores.accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})\n")
    print(report.per_class(result.scores.per_class))
    print()
    print(report.metrics(result.record["scores"]))
    print()
    print("\n".join(result.remarks))
    print(f"written           {folder / evaluation_page.PAGE} and {folder / evaluation_page.RECORD}")


def _parser() -> Parser:
    parser = Parser(
        "python -m headstand evaluate",
        "Evaluate a checkpoint or a bundle with the metrics of a training run, on a split of its prepared "
        "dataset or on a folder of other photos.",
    )
    parser.add_argument(
        "model", metavar="RECIPE_OR_FILE", help="a .h5 or .tflite file, or a recipe: its newest finished run"
    )
    parser.add_argument("--split", choices=("validation", "test"), help="split of the dataset; default test")
    parser.add_argument("--folder", type=Path, help="photos in class folders with the names of the model's classes")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder for the results; default runs/NAME/evaluate-TIME"
    )
    return parser


def _new_folder(name: str) -> Path:
    """Returns the path of a new folder for an evaluation."""
    parent, prefix = root() / name, "evaluate-"
    return parent / naming.folder(prefix, (path.name for path in parent.glob(f"{prefix}*/")))

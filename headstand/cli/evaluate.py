"""Command `evaluate`: metrics of a checkpoint or a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

from headstand import naming
from headstand.cli.command import UsageError
from headstand.runs import root

if TYPE_CHECKING:
    from headstand.evaluation.evaluate_model import EvaluationResult


def run(name: str, split: str | None, folder: Path | None, output: Path | None) -> None:
    """Evaluates a model, prints its metrics and writes a report into a folder.

    Args:
        name: a `.h5` or `.tflite` file, a folder of runs, or a recipe.
        split: split of the prepared dataset, by default test; with `folder`, of that folder.
        folder: other photos.
        output: folder of the report; by default a new one in `runs/`.

    Raises:
        HeadstandError: model or photos do not exist or do not fit each other, or `output` is a file.
    """
    if output and output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file: name a folder")
    result = evaluated(name, split, folder)
    from headstand import report
    from headstand.report import evaluation_page

    output, sample = output or _new_folder(result.model.about.name), result.sample
    evaluation_page.write(output, result)
    low, high = result.scores.interval
    prefix = {"test": "test_", "validation": "val_"}.get(sample.split, "")
    print(f"{prefix}accuracy={result.scores.accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})\n")
    print(report.per_class(result.scores.per_class))
    print()
    print(report.metrics(result.record["scores"]))
    print()
    print("\n".join(result.remarks))
    print(f"written           {output / evaluation_page.PAGE} and {output / evaluation_page.RECORD}")


def evaluated(name: str, split: str | None, folder: Path | None) -> "EvaluationResult":
    """Returns the metrics of a model and prints which photos they are of; arguments and errors as in `run`."""
    # Importing TensorFlow takes seconds, so arguments are checked before. The first import suppresses its messages.
    import headstand.tensorflow_setup  # noqa: F401

    # isort: split
    from headstand.evaluation import evaluated_model as models
    from headstand.evaluation import evaluation_set
    from headstand.evaluation.evaluate_model import evaluate_model

    # A model refitted on all splits cannot be evaluated on any of them, but it is the one to evaluate on other photos.
    model = models.load(models.find(name, refitted=folder is not None))
    about = model.about
    if folder:
        sample = evaluation_set.of_folder(folder, split, about)
    else:
        sample = evaluation_set.of_dataset(Path("data") / about.name, split or "test", about)
    print(f"model             {model.path} ({len(about.labels)} classes, {model.input.description})")
    print(f"photos            {len(sample.photos)}, {sample}", flush=True)
    return evaluate_model(model, sample)


def _new_folder(name: str) -> Path:
    """Returns the path of a new folder for an evaluation."""
    parent, prefix = root() / name, "evaluate-"
    return parent / naming.folder(prefix, (path.name for path in parent.glob(f"{prefix}*/")))

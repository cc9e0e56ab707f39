"""Demo of the whole workflow: prepare, train, convert, predict. Prints each step's duration and output files."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headstand import recipe as recipes


def run(name: str, arguments: list[str]) -> None:
    """Runs the whole workflow with a recipe.

    Args:
        name: name or file of the recipe.
        arguments: overrides of recipe keys, in the format of `headstand.recipe.load`.

    Raises:
        HeadstandError: raised by the steps.
    """
    started = time.perf_counter()
    recipe = recipes.load(name, arguments)
    with _step("prepare", f"python data_preparation.py {name}") as add_file:
        from headstand.preparation.doctor import checkup
        from headstand.preparation.explore.explore import explore
        from headstand.preparation.prepare import prepare

        summary = prepare(recipe)
        print(summary)
        for line in checkup(recipe.data, summary.remarks()):
            print(line)
        add_file(recipe.data / "manifest.csv")
        for plot in explore(recipe.data):
            add_file(plot)
    with _step("train", f"python train.py {name}") as add_file:
        from headstand.training import train

        outcome = train(recipe)
        add_file(outcome.final)
        add_file(outcome.folder / "report.json")
    with _step("convert", f"python convert_to_tflite.py {outcome.final}") as add_file:
        from headstand.export.exporting import export

        exported = export(outcome.final)
        print(
            f"{exported.parity.count} test photos: same top class on {exported.parity.agreement:.0%}, "
            f"largest difference {exported.parity.largest_difference:.1e}"
        )
        add_file(exported.bundle)
    from headstand.preparation import manifest

    photo = recipe.data / manifest.read(recipe.data).split("test")[0].path
    with _step("predict", f"HEADSTAND_MODEL={exported.bundle} python predict.py {photo}") as add_file:
        from headstand.serve.classifier import Classifier

        prediction = Classifier(exported.bundle).predict(photo.read_bytes())
        print(json.dumps({label: round(value, 4) for label, value in prediction.probabilities.items()}))
        add_file(photo)
    test = outcome.report["test"]
    low, high = test["interval"]
    print(f"\ntest accuracy {test['accuracy']:.3f} on {test['count']} photos (95 % interval {low:.3f} to {high:.3f})")
    print(f"total time    {time.perf_counter() - started:.0f} s")
    print(f"serve it      HEADSTAND_MODEL={exported.bundle} .venv/bin/gunicorn predict:app")


@contextmanager
def _step(name: str, command: str) -> Iterator[Callable[[Path], None]]:
    """Prints the equivalent command before a step, and its duration and files after it; yields a callback for files."""
    print(f"\n== {name}: {command}", flush=True)
    files: list[Path] = []
    start = time.perf_counter()
    yield files.append
    print(f"-- {name} took {time.perf_counter() - start:.1f} s: {', '.join(map(str, files))}", flush=True)

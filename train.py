"""Train a classifier on prepared photos.

    python train.py                                     the yoga6 recipe
    python train.py demo                                another recipe
    python train.py yoga6 --backbone.name MobileNetV2 --backbone.size 224 --backbone.weights models/yoga66/yoga66.h5
    python train.py yoga6 --help                        every key, its default and what it means

The backbone sees each photo once; the search and the head work on its features, which are kept for the next run.
The best checkpoint, report.json and plots are written to runs/RECIPE/TIME/; the last lines are the commands that
convert and serve it. Interrupted, the same command goes on where it stopped.
"""

from headstand import command, recipe


def main(words: list[str]) -> None:
    """Train by the recipe that `words` name."""
    name, rest = command.recipe_and_rest(words)
    settings = recipe.load(name, rest)
    # TensorFlow takes seconds to import; a mistyped recipe is told before.
    from headstand.learn import report, training

    outcome = training.train(settings)
    print()
    print(report.per_class(outcome.report["test"]["per_class"]))
    print(f"\nreport and plots  {outcome.folder}")
    best = outcome.refitted or outcome.checkpoint
    print(f"convert it        python convert_to_tflite.py {best}")
    print(f"serve it          HEADSTAND_MODEL={best.with_suffix('.tflite')} gunicorn predict:app")


if __name__ == "__main__":
    command.run(main)

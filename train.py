"""Train a classifier on prepared photos.

    python train.py                                     the yoga6 recipe
    python train.py demo                                another recipe
    python train.py yoga6 --backbone.name MobileNetV2 --backbone.size 224 --backbone.weights models/yoga66/yoga66.h5
    python train.py --help                              the most used options; --help-all: every key of a recipe
    python train.py yoga6 --profile                     trace some steps, for `tensorboard --logdir RUN/profile`
    python train.py yoga6 --ray auto                    features and search on a Ray cluster; or its HOST:PORT

The backbone sees each photo once; the search and the head work on its features, which are kept for the next run.
The best checkpoint, report.json and plots are written to runs/RECIPE/TIME/, the metrics of each epoch to history.csv
there and, with those of each trial, to tensorboard/; the last lines are the commands that convert and serve it.
The same command resumes an interrupted run. A cloud tuner reads the metrics with a regular expression such as
`val_accuracy=([0-9.]+)`: the last match is that of the selected model. As it stands, this script is also the entry
point of a SageMaker training job (docs/sagemaker.md).
"""

import shlex

import rich_click as click

from headstand.cli import command
from headstand.cli.options import SETTINGS, RecipeCommand, changed, invoke, quiet, searched, silent
from headstand.scale.sagemaker import job


@click.command(cls=RecipeCommand, recipe=command.DEFAULT_RECIPE, context_settings=SETTINGS)
@click.argument("name", default=command.DEFAULT_RECIPE, metavar="[RECIPE]")
@click.option("--ray", metavar="ADDRESS", help="features and search on a Ray cluster: auto or HOST:PORT")
@click.option("--profile", is_flag=True, help="Trace some steps, for `tensorboard --logdir RUN/profile`.")
@quiet
def train(name: str, ray: str | None, profile: bool, quiet: bool, overrides: list[str]) -> None:
    """Train a classifier on the photos that `data_preparation.py` has prepared by RECIPE.

    The report is written to runs/RECIPE/TIME; the last lines are the commands that convert and serve the model. The
    same command resumes an interrupted run.
    """
    from headstand import recipe
    from headstand.preparation import preparation_record

    settings = recipe.load(name, overrides)
    preparation_record.check_options(settings, overrides)
    print("".join(searched(settings, overrides)), end="", flush=True)
    # TensorFlow takes seconds to import; an invalid recipe is reported before.
    from headstand import report, scale, training
    from headstand.features import backbones
    from headstand.preparation import manifest

    if note := backbones.note(settings.backbone):
        print(note, flush=True)

    with silent(quiet), scale.backend(ray) as backend:
        outcome = training.train(settings, profile, backend)
    print()
    print(report.per_class(outcome.report["test"]["per_class"]))
    print()
    for finding in outcome.findings:
        if finding.severity != "note":
            print(f"diagnosis: {finding}")
            if options := next((each.options for each in finding.suggestions if each.options), []):
                split = any(key.startswith("--split") for key in options)
                program = shlex.split(manifest.preparing(settings.data)) if split else ["python", "train.py", name]
                print(f"  {changed(program, [] if split else overrides, options)}")
    if profile:
        print(f"profile           tensorboard --logdir {outcome.folder}/profile")
    print(f"report and plots  {outcome.folder}")
    print(f"convert it        python convert_to_tflite.py {outcome.final}")
    print(f"serve it          HEADSTAND_MODEL={outcome.final.with_suffix('.tflite')} gunicorn predict:app")


def main(argv: list[str]) -> None:
    """Trains as the arguments `argv` specify."""
    invoke(train, "python train.py", argv)


if __name__ == "__main__":
    command.run(job.around(main))

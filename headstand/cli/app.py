"""The command `headstand`: its subcommands with their arguments, options and help.

The functions that do the work are imported when a command runs, so that help and errors in arguments appear at once.
"""

import functools
from pathlib import Path
from typing import Any

import rich_click as click

from headstand import __version__
from headstand.cli.command import DEFAULT_RECIPE, UsageError
from headstand.cli.options import SETTINGS, RecipeCommand, quiet
from headstand.export_formats import BEST, FORMATS, ONNX

PREPROCESSING = ("xception", "caffe", "torch", "lite", "none")

FILE, FOLDER = click.Path(path_type=Path), click.Path(path_type=Path)

MODELS, DATA, DEPLOY, MORE = "Train and use a model", "Look at photos and models", "Deploy", "More"
"""Groups of commands in the help."""

TRAINING = (
    "name", "seed", "minutes", "source.layout", "split", "backbone", "head", "augmentation", "search", "finetune",
)  # fmt: skip
"""Keys in the help of commands that take photos."""

base_recipe = click.option(
    "--recipe", "base", default="photos", show_default=True, metavar="NAME", panel="Photos", help="for other settings"
)  # fmt: skip
foreign = functools.partial(click.option, panel="A model not trained by Headstand")


class Commands(click.RichGroup):
    """Group whose help lists the commands in the order of their definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Commands, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, message="headstand %(version)s")
@click.pass_context
def headstand(ctx: click.Context) -> None:
    """Trains image classifiers from a folder of labelled photos, and serves them.

    From photos to a URL: `headstand train PHOTOS`, then `headstand serve`. Completion in bash (or zsh, fish):
    eval "$(_HEADSTAND_COMPLETE=bash_source headstand)"
    """
    if not ctx.invoked_subcommand:
        click.echo(ctx.get_help())


@headstand.command(cls=RecipeCommand, recipe="photos", shown=TRAINING, panel=MODELS)
@click.argument("photos")
@base_recipe
@quiet
def train(photos: str, base: str, quiet: bool, overrides: list[str]) -> None:
    """Train a model on PHOTOS, ready to be served.

    PHOTOS is a folder with one subfolder per class, a zip or tar of one, a URL of either (http, https, s3), a CSV table
    of paths and labels, or a recipe. They are checked and divided in data/NAME; the model is written to runs/NAME.
    """
    from headstand.cli import train as command

    command.train(photos, base, overrides, quiet)


@headstand.command(panel=MODELS)
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="port to listen on")
def serve(model: str | None, host: str, port: int) -> None:
    """Serve MODEL over HTTP, with a web page.

    MODEL is a .tflite file or the folder of a run; without it HEADSTAND_MODEL, else the newest model in runs/, else the
    model of six yoga poses that comes with Headstand. Workers and limits: environment variables in docs/service.md.
    """
    from headstand.cli import serve as command

    command.serve(model, host, port)


@headstand.command(panel=MODELS)
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--csv", "form", flag_value="csv", help="Print a table with the probability of each class.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object a line.")
def predict(model: str, images: tuple[str, ...], form: str | None) -> None:
    """Classify files, folders or URLs with MODEL.

    MODEL is a .tflite file or the folder of a run. A folder of images is searched with its subfolders. A line is
    printed for each image.
    """
    from headstand.cli import predict as command

    command.predict(model, images, form or "text")


@headstand.command(panel=MODELS)
@click.argument("run", type=FOLDER)
def diagnose(run: Path) -> None:
    """Print what limits the model of RUN, and its times.

    RUN is the folder of a finished run, runs/NAME/TIME, or of several: the newest one. Exit status: 0 without errors, 2
    with errors.
    """
    from headstand.cli import diagnose as command

    command.run(run)


@headstand.command(panel=MODELS)
@click.argument("model", metavar="MODEL")
@click.option("--split", type=click.Choice(["validation", "test"]), help="split of the dataset  [default: test]")
@click.option("--folder", type=FOLDER, metavar="FOLDER", help="other photos, in folders named as the model's classes")
@click.option("--output", type=FOLDER, metavar="FOLDER", help="for the results  [default: runs/NAME/evaluate-TIME]")
def evaluate(model: str, split: str | None, folder: Path | None, output: Path | None) -> None:
    """Measure MODEL on test photos or other photos.

    MODEL is a .h5 or .tflite file, the folder of a run, or a recipe: its newest finished run.
    """
    from headstand.cli import evaluate as command

    command.run(model, split, folder, output)


@headstand.command(cls=RecipeCommand, recipe=DEFAULT_RECIPE, shown=("backbone.weights", "head"), panel=MODELS)
@click.argument("recipe", default=DEFAULT_RECIPE)
@click.option("--backbones", metavar="NAMES", help="networks, such as VGG16,Xception@96=none: NAME@PIXELS=WEIGHTS")
@click.option("--under-ms", metavar="MS", help="longest time for an image in milliseconds")
@click.option("--under-mb", metavar="MB", help="largest size of a model in megabytes")
def compare(
    recipe: str, backbones: str | None, under_ms: str | None, under_mb: str | None, overrides: list[str]
) -> None:
    """Compare backbones by accuracy, size and time.

    RECIPE names the backbones and the variants of its settings; by default yoga6.
    """
    from headstand.cli import compare as command

    short = {"backbones": backbones, "under_ms": under_ms, "under_mb": under_mb}
    given = [part for key, value in short.items() if value for part in (f"--compare.{key}", value)]
    command.run(recipe, [*given, *overrides])


@headstand.command(panel=MODELS)
@click.argument("model", required=False, type=FILE)
@click.option("--format", "kind", type=click.Choice([*FORMATS, BEST, ONNX]), default="float32", show_default=True,
              metavar="NAME", help=f"{', '.join(FORMATS)}, {BEST} (the fastest that passes); {ONNX}: a file for other "
              "programs")  # fmt: skip
@click.option("--representative", type=click.IntRange(1), default=300, show_default=True, metavar="N",
              help="training photos for the ranges of int8")  # fmt: skip
@click.option("--force", is_flag=True, help="Write the model although its predictions differ, marked as failed.")
@click.option("--verbose", is_flag=True, help="Show the output of TensorFlow's converter.")
@foreign("--labels", type=FILE, metavar="FILE", help="class names in output order: one per line, or JSON")
@foreign("--preprocess", type=click.Choice(PREPROCESSING), metavar="NAME",
         help=f"scaling of pixels 0 to 255 before the model: {', '.join(PREPROCESSING)}")  # fmt: skip
@foreign("--size", type=click.IntRange(1), metavar="PIXELS", help="side of its input, if it is not fixed")
@foreign("--photos", type=FOLDER, metavar="FOLDER", help="for the comparison; in class folders, for accuracy too")
@click.pass_context
def convert(ctx: click.Context, model: Path | None, **options: Any) -> None:
    """Convert MODEL to the .tflite that is served.

    MODEL is a checkpoint or the folder of a run; by default the newest run.

    The .tflite with its labels inside, the comparison NAME.parity.json and labels.txt are written beside the
    checkpoint. Nothing is written if the converted model predicts differently from the trained one.
    """
    from headstand.cli import convert as command

    command.run(model, script=ctx.parent is None, **options)


@headstand.command(cls=RecipeCommand, recipe="photos", shown=TRAINING, panel=DATA)
@click.argument("photos")
@base_recipe
def explore(photos: str, base: str, overrides: list[str]) -> None:
    """Check and divide PHOTOS, and plot what is in them.

    They are written to data/NAME, the plots and sample photos to explore/index.html there.
    PHOTOS as for `headstand train`, which then does not prepare them again.
    """
    from headstand.cli import train as command

    command.prepare_and_explore(photos, base, overrides)


@headstand.command(cls=RecipeCommand, recipe="photos", shown=("backbone",), panel=DATA)
@click.argument("photos")
@click.option("--html", type=FILE, default=Path("doctor.html"), show_default=True, metavar="FILE", help="the page")
@click.option("--json", type=FILE, metavar="FILE", help="write all findings as JSON")
@click.option("--fix", type=FOLDER, metavar="FOLDER", help="write a cleaned copy into this new folder")
@click.option("--labels", is_flag=False, flag_value="", metavar="[RECIPE]",
              help="search for wrong labels too, in features of the recipe's backbone")  # fmt: skip
def doctor(
    photos: str, html: Path, json: Path | None, fix: Path | None, labels: str | None, overrides: list[str]
) -> None:
    """Find damaged files, duplicates and wrong labels.

    PHOTOS is a folder of class folders or of splits, a prepared dataset, an archive or URL of one, or a CSV table.
    Exit status: 0 without errors, 2 with errors, 1 if the check could not run.
    """
    from headstand.cli import doctor as command

    command.run(photos, html, json, fix, labels, overrides)


@headstand.command(cls=RecipeCommand, recipe="photos", shown=TRAINING, panel=DATA)
@click.argument("photos")
@base_recipe
def init(photos: str, base: str, overrides: list[str]) -> None:
    """Write the recipe that `train PHOTOS` uses.

    It is NAME.toml, with a comment at each key; `headstand train NAME.toml` trains by it.
    """
    from headstand.cli import train as command

    path = command.init(photos, base, overrides)
    click.echo(f"written   {path}\ntrain it  headstand train {path}")


@headstand.command(panel=DATA)
@click.argument("recipe")
@click.argument("number", type=click.IntRange(1), metavar="N")
@click.argument("folder", type=FOLDER)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="selects another sample")
def sample(recipe: str, number: int, folder: Path, seed: int | None) -> None:
    """Write test photos with their labels.

    N random photos of the test split of RECIPE are written to FOLDER, to test a service.
    """
    from headstand import recipe as recipes
    from headstand.preparation.sample import sample

    settings = recipes.load(recipe, [] if seed is None else ["--seed", str(seed)])
    for path in sample(settings, number, folder):
        click.echo(path)


@headstand.command(panel=DEPLOY)
@click.argument("model", required=False)
@click.option("--stack", default="headstand", show_default=True, help="name of stack, function and repository")
@click.option("--region", help="by default AWS_REGION, AWS_DEFAULT_REGION or the AWS CLI's own")
@click.option("--architecture", type=click.Choice(["arm64", "x86_64"]), help="by default this machine's")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="parameter of deploy/template.yaml")
@click.option("--dry-run", is_flag=True, help="Print the commands without running them.")
def deploy(
    model: str | None, stack: str, region: str | None, architecture: str | None, parameters: tuple[str, ...],
    dry_run: bool,
) -> None:  # fmt: skip
    """Deploy MODEL to AWS Lambda.

    MODEL is a .tflite file in models/ or runs/ of a checkout; docs/lambda.md describes costs and removal.
    """
    from headstand.cli import deploy as command

    command.run(model, stack, region, architecture, parameters, dry_run)


@headstand.command(panel=DEPLOY)
@click.option("--endpoint", required=True, metavar="URL", help="URL that pictures are sent to, as printed by deploy")
@click.option("--model", type=FILE, metavar="FILE", help="the .tflite that is deployed there")
@click.option("--output", type=FOLDER, metavar="FOLDER", help="write the page into this folder instead of serving it")
@click.option("--port", type=int, default=8001, show_default=True, help="port on this machine")
def page(endpoint: str, model: Path | None, output: Path | None, port: int) -> None:
    """Serve or write the page of a deployed model."""
    from headstand.cli import page as command

    command.run(endpoint, model, output, port)


@headstand.command(panel=DEPLOY)
@click.argument("run", type=FOLDER)
@click.argument("folder", type=FOLDER)
def publish(run: Path, folder: Path) -> None:
    """Copy the model of RUN and its card to FOLDER."""
    from headstand.export.publish import publish

    for path in publish(run, folder):
        click.echo(path)


@headstand.command(cls=RecipeCommand, recipe=DEFAULT_RECIPE, shown=("name",), panel=DEPLOY)
@click.argument("recipe", default=DEFAULT_RECIPE)
@click.option("--prefix", metavar="s3://BUCKET/KEY", help="address of the dataset in S3")
@click.option("--upload", metavar="s3://BUCKET/KEY", help="upload the dataset there")
def manifests(recipe: str, prefix: str | None, upload: str | None, overrides: list[str]) -> None:
    """List the files of each split, or upload them."""
    from headstand.preparation import manifests

    if prefix and upload:
        raise UsageError("--prefix and --upload exclude each other: --upload is the prefix too")
    manifests.run(recipe, overrides, prefix, upload)


@headstand.command(cls=RecipeCommand, recipe="demo", shown=("backbone", "head"), panel=MORE)
@click.argument("recipe", default="demo")
def demo(recipe: str, overrides: list[str]) -> None:
    """Run all steps, offline, on rendered photos."""
    from headstand.cli import demo

    demo.run(recipe, overrides)

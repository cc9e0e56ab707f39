"""`python -m headstand COMMAND`: the commands that have no script of their own."""

from pathlib import Path

from headstand.cli import command
from headstand.errors import HeadstandError

COMMANDS = {
    "compare": (
        "[RECIPE] [--backbones NAME,NAME@SIZE=WEIGHTS] [--under-ms N] [--under-mb N]",
        "compares variants and backbones",
    ),
    "demo": ("[RECIPE]", "runs the whole workflow and times each step"),
    "deploy": ("[MODEL] [--region REGION] [--set Name=value ...] [--dry-run]", "deploys a model to AWS Lambda"),
    "diagnose": ("RUN", "prints the diagnosis of a finished run and the time per step"),
    "doctor": ("FOLDER [--html PATH] [--json PATH] [--fix TARGET] [--labels]", "checks a folder of photos"),
    "evaluate": (
        "RECIPE_OR_FILE [--split validation|test] [--folder FOLDER] [--output FOLDER]",
        "evaluates a .h5 or .tflite",
    ),
    "manifests": (
        "[RECIPE] [--prefix s3://BUCKET/KEY | --upload s3://BUCKET/KEY]",
        "lists the files of each split, or uploads them",
    ),
    "page": (
        "--endpoint URL [--model BUNDLE] [--output FOLDER] [--port N]",
        "serves or writes the web page of a deployed model",
    ),
    "publish": ("RUN FOLDER", "copies a run's model and its card to FOLDER"),
    "sample": ("RECIPE N FOLDER", "writes N random test photos with their labels, to test a service"),
}
"""Arguments and description of each command."""


def main(argv: list[str]) -> None:
    """Runs the command named by the first argument with the remaining arguments."""
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print("python -m headstand COMMAND\n")
        for name, (arguments, description) in COMMANDS.items():
            print(f"  {name:<9} {description}\n            {arguments}")
    elif name == "compare":
        from headstand.cli import compare

        compare.run(*command.recipe_and_rest(rest))
    elif name == "demo":
        from headstand.cli import demo

        demo.run(*command.recipe_and_rest(rest, default="demo"))
    elif name == "deploy":
        from headstand.cli import deploy

        deploy.run(rest)
    elif name == "diagnose" and len(rest) == 1:
        from headstand.cli import diagnose

        diagnose.run(Path(rest[0]))
    elif name == "doctor":
        from headstand.cli import doctor

        doctor.run(rest)
    elif name == "evaluate":
        from headstand.cli import evaluate

        evaluate.run(rest)
    elif name == "manifests":
        from headstand.prepare import manifests

        manifests.run(*command.recipe_and_rest(rest))
    elif name == "page":
        from headstand.cli import page

        page.run(rest)
    elif name == "publish" and len(rest) == 2:
        from headstand.export.publish import publish

        for path in publish(Path(rest[0]), Path(rest[1])):
            print(path)
    elif name == "sample":
        from headstand.cli import sample

        sample.run(rest)
    elif name in COMMANDS:
        raise HeadstandError(f"python -m headstand {name} {COMMANDS[name][0]}")
    else:
        raise HeadstandError(f"there is no command {name!r}; there are {', '.join(COMMANDS)}")


if __name__ == "__main__":
    command.run(main)

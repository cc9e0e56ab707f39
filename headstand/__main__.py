"""`python -m headstand VERB`: dispatcher of the commands that have no script of their own."""

from pathlib import Path

from headstand.cli import command
from headstand.errors import HeadstandError

VERBS = {
    "compare": "[RECIPE] [--backbones NAME,NAME@SIZE=WEIGHTS] [--under-ms N] [--under-mb N]  race variants, backbones",
    "demo": "[RECIPE]      the main job from end to end, each step timed",
    "deploy": "[MODEL] [--region REGION] [--set Name=value ...] [--dry-run]  a model to AWS Lambda, with its URL",
    "diagnose": "RUN          what a finished run suffered from, and where its time went",
    "doctor": "FOLDER [--html PATH] [--json PATH] [--fix TARGET] [--labels]  what photos suffer from",
    "evaluate": "RECIPE_OR_FILE [--split validation|test] [--folder FOLDER] [--output FOLDER]  score a .h5 or .tflite",
    "manifests": "[RECIPE] [--prefix s3://BUCKET/KEY | --upload s3://BUCKET/KEY]  list the splits' files, upload them",
    "page": "--endpoint URL [--model BUNDLE] [--output FOLDER] [--port N]  the web page of a deployed model",
    "publish": "RUN FOLDER    copy a run's model to FOLDER, with a card",
    "sample": "RECIPE N FOLDER  N random test photos with their labels as files, to try a service with",
}


def main(words: list[str]) -> None:
    """Runs the command named by the first argument with the remaining arguments."""
    verb, *rest = words or ["--help"]
    if verb in ("-h", "--help"):
        print("python -m headstand VERB\n")
        print("\n".join(f"  {name:<9} {text}" for name, text in VERBS.items()))
    elif verb == "compare":
        from headstand.cli import compare

        compare.run(*command.recipe_and_rest(rest))
    elif verb == "demo":
        from headstand.cli import demo

        demo.run(*command.recipe_and_rest(rest, default="demo"))
    elif verb == "deploy":
        from headstand.cli import deploy

        deploy.run(rest)
    elif verb == "diagnose" and len(rest) == 1:
        from headstand.cli import diagnose

        diagnose.run(Path(rest[0]))
    elif verb == "doctor":
        from headstand.cli import doctor

        doctor.run(rest)
    elif verb == "evaluate":
        from headstand.cli import evaluate

        evaluate.run(rest)
    elif verb == "manifests":
        from headstand.prepare import manifests

        manifests.run(*command.recipe_and_rest(rest))
    elif verb == "page":
        from headstand.cli import page

        page.run(rest)
    elif verb == "publish" and len(rest) == 2:
        from headstand.export.publish import publish

        for path in publish(Path(rest[0]), Path(rest[1])):
            print(path)
    elif verb == "sample":
        from headstand.cli import sample

        sample.run(rest)
    elif verb in VERBS:
        raise HeadstandError(f"python -m headstand {verb} {' '.join(VERBS[verb].split('  ')[0:1])}")
    else:
        raise HeadstandError(f"there is no verb {verb!r}; there are {', '.join(VERBS)}")


if __name__ == "__main__":
    command.run(main)

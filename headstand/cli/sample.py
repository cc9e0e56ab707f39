"""Command `sample`: writes random test photos with their labels to a folder."""

from pathlib import Path

from headstand.cli import command
from headstand.prepare.sample import SampleError, sample
from headstand.recipe import load


def run(argv: list[str]) -> None:
    """Draws a sample as the command line `RECIPE N FOLDER [--key value ...]` requests and prints the paths written.

    `--seed` selects another sample.

    Raises:
        SampleError: the number or the folder is missing, or as `headstand.prepare.sample.sample`.
    """
    name, rest = command.recipe_and_rest(argv)
    if len(rest) < 2 or not rest[0].isdecimal() or rest[1].startswith("-"):
        raise SampleError("the number of photos or the folder is missing: python -m headstand sample RECIPE N FOLDER")
    for path in sample(load(name, rest[2:]), int(rest[0]), Path(rest[1])):
        print(path)

"""Prepare a recipe's photos: download, check, split and plot.

    python data_preparation.py                              the yoga6 recipe, downloaded from Kaggle
    python data_preparation.py yoga6 --source FOLDER        the same from a folder with one folder per class
    python data_preparation.py demo                         photos that Headstand renders, offline
    python data_preparation.py yoga6 --seed 2 --split.strategy ordered
    python data_preparation.py --help                       the most used options; --help-all: every key of a recipe

Photos are copied to data/RECIPE/{train,validation,test}/CLASS/ and listed in data/RECIPE/manifest.csv; plots are in
data/RECIPE/explore/, all on one page in index.html, and the findings of the data check in doctor.html. Near duplicates
stay in one split. A second run changes nothing unless photos or settings have changed.
"""

import rich_click as click

from headstand.cli import command
from headstand.cli.options import SETTINGS, RecipeCommand, invoke


@click.command(cls=RecipeCommand, recipe=command.DEFAULT_RECIPE, context_settings=SETTINGS)
@click.argument("name", default=command.DEFAULT_RECIPE, metavar="[RECIPE]")
def data_preparation(name: str, overrides: list[str]) -> None:
    """Prepare the photos of RECIPE: download, check, split and plot.

    Photos are copied to data/RECIPE/{train,validation,test}/CLASS and listed in data/RECIPE/manifest.csv; plots and the
    findings of the data check are in data/RECIPE/explore. A second run changes nothing unless photos or settings have
    changed.
    """
    from headstand.cli.train import check_source, prepare_and_check
    from headstand.recipe import load

    recipe = load(name, overrides)
    check_source(recipe, overrides)
    _, wrong = prepare_and_check(recipe)
    renamed = f" --name {recipe.name}" if "--name" in overrides else ""
    print(f"not ready: {wrong}" if wrong else f"train it: python train.py {name}{renamed}")


def main(argv: list[str]) -> None:
    """Prepares the dataset that the arguments `argv` select."""
    invoke(data_preparation, "python data_preparation.py", argv)


if __name__ == "__main__":
    command.run(main)

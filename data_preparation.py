"""Prepare a recipe's photos: download, check, split and plot.

    python data_preparation.py                              the yoga6 recipe, downloaded from Kaggle
    python data_preparation.py yoga6 --source FOLDER        the same from a folder with one folder per class
    python data_preparation.py demo                         photos that Headstand renders, offline
    python data_preparation.py yoga6 --seed 2 --split.strategy ordered
    python data_preparation.py yoga6 --help                 every key, its default and what it means

Photos are copied to data/RECIPE/{train,validation,test}/CLASS/ and listed in data/RECIPE/manifest.csv; plots are in
data/RECIPE/explore/, all on one page in index.html, and the findings of the data check in doctor.html. Near duplicates
stay in one split. A second run changes nothing unless photos or settings have changed.
"""

from headstand.cli import command
from headstand.prepare.doctor import checkup, errors
from headstand.prepare.explore.explore import explore
from headstand.prepare.prepare import prepare
from headstand.recipe import load


def main(argv: list[str]) -> None:
    """Prepares the dataset that the arguments `argv` select and prints the results."""
    name, rest = command.recipe_and_rest(argv)
    recipe = load(name, rest)
    summary = prepare(recipe)
    print(summary)
    for line in [*checkup(recipe.data, summary.remarks()), *explore(recipe.data)]:
        print(line)
    renamed = any(argument.partition("=")[0] == "--name" for argument in rest)
    train = f"python train.py {name}{f' --name {recipe.name}' if renamed else ''}"
    if found := errors(recipe.data):
        print(
            f"not ready: {found} error{'s' * (found != 1)} would make metrics wrong; "
            f"{recipe.data / 'explore' / 'doctor.html'} shows where. Correct the source and prepare it again"
        )
    else:
        print(f"train it: {train}")


if __name__ == "__main__":
    command.run(main)

"""Prepare a recipe's photos: fetch, check, split, look.

python data_preparation.py                              the recipe yoga6, downloaded from Kaggle
python data_preparation.py yoga6 --source FOLDER        the same from a folder with one folder of photos a class
python data_preparation.py demo                         photos that Headstand draws itself, offline
python data_preparation.py yoga6 --seed 2 --split.strategy ordered        any key of the recipe
"""

from headstand import command
from headstand.prepare.explore import look
from headstand.prepare.prepare import prepare
from headstand.recipe import load


def main(words: list[str]) -> None:
    """Prepare the dataset that the words name, and print what was made."""
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return
    name, rest = command.recipe_and_rest(words)
    recipe = load(name, rest)
    summary = prepare(recipe)
    print(summary)
    for path in look(recipe.data):
        print(path)
    print(f"next: python train.py {name}")


if __name__ == "__main__":
    command.run(main)

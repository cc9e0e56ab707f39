"""Staged search: each stage varies one parameter and keeps the others at their best values so far."""

from headstand.heads.search import space as spaces
from headstand.heads.search.trial_runner import TrialRunner, build_head
from headstand.recipe import Head
from headstand.recipe.search_space import Dimension, Search


def run(search: Search, start: Head, attempts: TrialRunner) -> Head:
    """Runs the stages in order and returns the head with the best value of each stage.

    Args:
        search: the recipe's stages.
        start: the head that the first stage starts from.
        attempts: the trial runner.
    """
    best = start
    for place, stage in enumerate(search.stages, start=1):
        name = stage.parameter
        space: spaces.Space = {name: spaces.distribution(name, Dimension.model_construct(values=stage.values))}
        wanted = [({name: value}, build_head(best, {name: value})) for value in stage.values]
        tried = attempts.many(place, space, wanted)
        tried.sort(key=lambda trial: trial.rank, reverse=True)
        if stage.finalists:
            longer = [
                (
                    {**trial.values, "epochs": stage.finalist_epochs},
                    build_head(trial.head, {"epochs": stage.finalist_epochs}),
                )
                for trial in tried[: stage.finalists]
            ]
            again = attempts.many(place, space, longer)
            # The finalists' longer training selects the value; the number of epochs stays that of the recipe.
            again.sort(key=lambda trial: trial.rank, reverse=True)
            best = build_head(again[0].head, {"epochs": best.epochs})
        else:
            best = tried[0].head
    return best

"""Grid search: every combination of the values."""

from headstand.heads.search import space as spaces
from headstand.heads.search.trial import best
from headstand.heads.search.trial_runner import TrialRunner, build_head
from headstand.recipe import Head
from headstand.recipe.search_space import Dimension, Search


def run(search: Search, start: Head, attempts: TrialRunner) -> Head:
    """Trains every head of every grid and returns the best one."""
    for place, job in enumerate(search.plan, start=1):
        space = {
            name: spaces.distribution(name, Dimension.model_construct(values=dimension.listed(name)))
            for name, dimension in job.parameters.items()
        }
        attempts.many(place, space, [(values, build_head(start, values)) for values in job.grid()])
    winner = best(attempts.trials)
    return winner.head if winner else start

"""Executors of the two most expensive steps of a run, features and search: this process or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headstand.learn import search
from headstand.learn.features import Extractor
from headstand.recipe import Backbone


@dataclass(frozen=True)
class Place:
    """Executor of features and search.

    `extractor` returns the feature extractor of a backbone; `search` has the signature of `headstand.learn.search.run`.
    """

    extractor: Callable[[Backbone], Extractor]
    search: Callable[..., search.Found]


HERE = Place(Extractor, search.run)
"""Executor in this process."""


@contextmanager
def at(ray: str | None) -> Iterator[Place]:
    """Yields the executor of the Ray cluster at `ray` (see `headstand.cluster.connected`); `HERE` if it is None."""
    if ray is None:
        yield HERE
        return
    # Imported only here, since Ray is an optional dependency.
    from headstand.cluster import connected

    with connected(ray) as place:
        yield place

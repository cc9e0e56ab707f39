"""Where the two large parts of a run are done: features and search."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headstand.learn import search
from headstand.learn.features import Extractor
from headstand.recipe import Backbone


@dataclass(frozen=True)
class Place:
    """What computes features, and what searches (as `headstand.learn.search.run`)."""

    extractor: Callable[[Backbone], Extractor]
    search: Callable[..., search.Found]


HERE = Place(Extractor, search.run)
"""This process."""


@contextmanager
def at(ray: str | None) -> Iterator[Place]:
    """Here, or on the Ray cluster that is named (as `headstand.cluster.connected`)."""
    if ray is None:
        yield HERE
        return
    # Ray is optional, and nothing else imports it.
    from headstand.cluster import connected

    with connected(ray) as place:
        yield place

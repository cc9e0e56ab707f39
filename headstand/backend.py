"""Executors of the two most expensive steps of a run, features and search: this process or a Ray cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from headstand.features import Extractor
from headstand.heads import search
from headstand.recipe import Backbone


@dataclass(frozen=True)
class Backend:
    """Executor of features and search.

    `extractor` returns the feature extractor of a backbone; `search` has the signature of `headstand.heads.search.run`.
    """

    extractor: Callable[[Backbone], Extractor]
    search: Callable[..., search.SearchResult]


LOCAL = Backend(Extractor, search.run)
"""Executor in this process."""

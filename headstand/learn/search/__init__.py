"""The search for a head: by stages, over a grid or with TPE; every trial on disk as soon as it is finished."""

from headstand.learn.search.run import Found, run
from headstand.learn.search.trial import SearchError, Trial

__all__ = ["Found", "SearchError", "Trial", "run"]

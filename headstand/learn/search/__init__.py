"""The search for a head: by stages, over a grid or with TPE; every trial on disk as soon as it is finished."""

import optuna

from headstand.learn.search.run import STRATEGIES, Found, run
from headstand.learn.search.table import indistinguishable
from headstand.learn.search.trial import SearchError, Trial

__all__ = ["STRATEGIES", "Found", "SearchError", "Trial", "indistinguishable", "run"]

# Optuna would tell of every study; the run tells by itself.
optuna.logging.set_verbosity(optuna.logging.WARNING)

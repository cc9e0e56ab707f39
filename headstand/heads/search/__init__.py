"""Hyperparameter search over heads: staged, grid or TPE. Each trial is saved as soon as it is finished."""

import optuna

from headstand.heads.search.strategies import STRATEGIES, SearchResult, run
from headstand.heads.search.trial import SearchError, Trial
from headstand.heads.search.trial_table import indistinguishable

__all__ = ["STRATEGIES", "SearchError", "SearchResult", "Trial", "indistinguishable", "run"]

# Optuna would log every study and trial; the run prints its own lines.
optuna.logging.set_verbosity(optuna.logging.WARNING)

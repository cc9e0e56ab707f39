"""What a run found out: for programs (`report.json`), for people (`report.html`) and for whoever gets the model."""

from headstand.learn.report.record import write
from headstand.learn.report.story import Story
from headstand.learn.report.terminal import figures, per_class

__all__ = ["Story", "figures", "per_class", "write"]

"""Writes the results of a training run: `report.json`, the page `report.html`, plots and a model card."""

from headstand.report.context import ReportContext
from headstand.report.record import write
from headstand.report.terminal import metrics, per_class

__all__ = ["ReportContext", "metrics", "per_class", "write"]

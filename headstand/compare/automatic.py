"""Selects the backbone of a run by cross-validation, for `backbone.name = "auto"`."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstand.compare.entry import ITSELF, ComparisonEntry
from headstand.compare.measuring import EntryFeatures, attempt, model_size
from headstand.compare.result import ModelSize
from headstand.compare.winner import fits
from headstand.errors import HeadstandError
from headstand.export.latency import Clock, latencies
from headstand.heads import FeatureSplit, cross_validation
from headstand.heads.cross_validation import CrossValidated
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation, Backbone, Recipe
from headstand.recipe.variants import with_backbone
from headstand.stats import paired


@dataclass(frozen=True)
class Candidate:
    """A backbone, and what was measured of it.

    Attributes:
        backbone: the backbone.
        validated: cross-validated logistic regression on its features; None if it could not be measured.
        parameters: number of its weights; 0 if it could not be loaded.
        model_size: size and latency of the converted model; None without limits, or if they could not be measured.
        reason: why something was not measured; empty otherwise.
    """

    backbone: Backbone
    validated: CrossValidated | None
    parameters: int
    model_size: ModelSize | None
    reason: str

    @property
    def title(self) -> str:
        return f"{self.backbone.name} at {self.backbone.size} px"

    def record(self, selected: "Candidate") -> dict[str, Any]:
        """Returns the figures for reports; `difference` is the accuracy minus that of the selected candidate."""
        size, gap = self.model_size, None
        if self.validated and selected.validated and self is not selected:
            found = paired(self.validated.correct, selected.validated.correct)
            gap = {"value": found.value, "interval": found.interval, "within_noise": found.within_noise}
        return {
            "backbone": self.title,
            "selected": self is selected,
            "cross_validated": self.validated.record if self.validated else None,
            "difference": gap,
            "parameters": self.parameters,
            "megabytes": size.megabytes if size else None,
            "milliseconds": size.milliseconds if size else None,
            "reason": self.reason,
        }


def select(
    recipe: Recipe, dataset: Dataset, log: Callable[[str], None], clock: Clock = latencies
) -> tuple[Recipe, list[dict[str, Any]]]:
    """Returns the recipe with the backbone of `compare.backbones` that suits the photos best, and all figures.

    The candidate with the lowest log loss of logistic regression in grouped cross-validation over train and validation
    is compared with each other one on the same photos. Of those that are not worse by more than one standard error, the
    one with the fewest weights is selected. Features are cached, so that a repetition takes seconds.

    Args:
        recipe: recipe with the backbone "auto".
        dataset: the prepared dataset; its test split is not used.
        log: receives a line for each candidate and the selection.
        clock: function that measures the latencies of flatbuffers; called only if the recipe has limits.

    Raises:
        HeadstandError: no candidate within the limits could be measured.
    """
    candidates = []
    for text in recipe.compare.backbones:
        candidates.append(_measured(with_backbone(text, recipe.backbone), recipe, dataset, clock))
        log(_described(candidates[-1]))
    selected = _selected(candidates, recipe)
    log(f"selected: {selected.title}")
    return (
        recipe.model_copy(update={"backbone": selected.backbone}),
        [candidate.record(selected) for candidate in candidates],
    )


def _measured(backbone: Backbone, recipe: Recipe, dataset: Dataset, clock: Clock) -> Candidate:
    entry = ComparisonEntry(ITSELF, backbone, Augmentation(), recipe.head)
    rows = EntryFeatures(dataset, recipe.seed, {})
    rows.compute(entry)
    if not (rows.splits and rows.extractor):
        return Candidate(backbone, None, 0, None, rows.reason)
    train, validation = rows.splits
    groups = np.array([photo.group for split in ("train", "validation") for photo in dataset.split(split)])
    both = FeatureSplit(
        np.concatenate([train.features, validation.features]), np.concatenate([train.labels, validation.labels])
    )
    folds = cross_validation.split_folds(train, validation, groups, recipe.seed)
    validated = cross_validation.logistic_regression(recipe.head, both, folds, len(dataset.classes))
    size, reason, limits = None, "", recipe.compare
    if limits.under_ms is not None or limits.under_mb is not None:
        size, reason = attempt(lambda: model_size(entry, rows, None, clock))
    return Candidate(backbone, validated, rows.extractor.feature_model.count_params(), size, reason)


def _selected(candidates: Sequence[Candidate], recipe: Recipe) -> Candidate:
    measured = [each for each in candidates if each.validated and fits(each.model_size, recipe.compare)]
    if not measured:
        reasons = "; ".join(f"{each.title}: {each.reason or 'above the limits'}" for each in candidates)
        raise HeadstandError(
            f"backbone.name = 'auto': none of compare.backbones can be used ({reasons}): add others, or raise "
            "compare.under_ms and compare.under_mb"
        )
    losses = {id(each): each.validated.losses for each in measured if each.validated}
    best = min(measured, key=lambda each: losses[id(each)].mean())
    equal = [each for each in measured if not cross_validation.lower(losses[id(best)], losses[id(each)])]
    return min(equal, key=lambda each: each.parameters)


def _described(candidate: Candidate) -> str:
    found, size = candidate.validated, candidate.model_size
    if not found:
        return f"{candidate.title}: not measured: {candidate.reason}"
    return (
        f"{candidate.title}: log loss {found.losses.mean():.4f}, accuracy {found.accuracy:.4f} in cross-validation, "
        f"{candidate.parameters / 1e6:.1f} million weights"
        + (f", {size.megabytes:.1f} MB, {size.milliseconds:.1f} ms" if size else "")
        + (f"; size not measured: {candidate.reason}" if candidate.reason else "")
    )

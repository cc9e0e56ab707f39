"""Candidates of a comparison: the recipe's variants, the recipe itself, and its head on other backbones."""

from dataclasses import dataclass
from pathlib import PurePath

from headstand.recipe import Augmentation, Backbone, Head, Recipe
from headstand.recipe.variants import with_backbone

ITSELF = "as the recipe"
"""Variant name of an entry with the recipe's own head."""


@dataclass(frozen=True)
class ComparisonEntry:
    """Candidate of a comparison: a backbone with augmentation and head, and the name of the variant."""

    variant: str
    backbone: Backbone
    augmentation: Augmentation
    head: Head

    @property
    def title(self) -> str:
        """Display name in messages and plots: backbone, input size, weights other than ImageNet's, variant."""
        weights = self.backbone.weights
        origin = (
            ""
            if weights in ("imagenet", "pretrained")
            else f" ({weights if weights == 'none' else PurePath(weights).name})"
        )
        return f"{self.backbone.name}@{self.backbone.size}{origin} {self.variant}"

    @property
    def architecture(self) -> tuple[object, ...]:
        """Settings that determine size and latency; entries that differ only in training settings share them."""
        head = self.head
        return self.backbone, head.inner, head.activation, head.batch_norm


def entries(recipe: Recipe) -> tuple[ComparisonEntry, ...]:
    """Returns the entries of a recipe: its variants, the recipe itself, and its head on each other backbone.

    Variants are not combined with all backbones, which would make the table too long; a variant may set its own
    backbone. Entries with equal settings are included once, under the name of the first.
    """
    candidates = []
    for variant in recipe.variants:
        varied = recipe.with_variant(variant)
        candidates.append(ComparisonEntry(variant.name, varied.backbone, varied.augmentation, varied.head))
    backbones = [recipe.backbone, *(with_backbone(text, recipe.backbone) for text in recipe.compare.backbones)]
    candidates += [ComparisonEntry(ITSELF, backbone, recipe.augmentation, recipe.head) for backbone in backbones]
    unique: dict[tuple[object, ...], ComparisonEntry] = {}
    for entry in candidates:
        unique.setdefault((entry.backbone, entry.augmentation, entry.head), entry)
    return tuple(unique.values())

"""What is raced: the recipe's variants, the recipe itself, and other backbones under the recipe's head."""

from dataclasses import dataclass
from pathlib import PurePath

from headstand.recipe import Augmentation, Backbone, Head, Recipe
from headstand.variants import rival

ITSELF = "as the recipe"
"""What the variant is called that changes nothing."""


@dataclass(frozen=True)
class Entry:
    """A backbone with a head, and what the head's variant is called."""

    variant: str
    backbone: Backbone
    augmentation: Augmentation
    head: Head

    @property
    def title(self) -> str:
        """Names it in the table and the plot."""
        weights = self.backbone.weights
        told = "" if weights == "imagenet" else f" ({weights if weights == 'none' else PurePath(weights).name})"
        return f"{self.backbone.name}@{self.backbone.size}{told} {self.variant}"

    @property
    def architecture(self) -> tuple[object, ...]:
        """What size and latency depend on: entries that differ in their training alone convert to equal models."""
        head = self.head
        return self.backbone, head.inner, head.activation, head.batch_norm


def entries(recipe: Recipe) -> tuple[Entry, ...]:
    """The variants on the recipe's backbone, the recipe itself, and each other backbone with the recipe's own head.

    Not every variant on every backbone: that is a table that nobody reads; a variant may name a backbone of its own.
    Entries that come to the same are raced once, under the first one's name.
    """
    raced = []
    for variant in recipe.variants:
        varied = recipe.varied(variant)
        raced.append(Entry(variant.name, varied.backbone, varied.augmentation, varied.head))
    backbones = [recipe.backbone, *(rival(text, recipe.backbone) for text in recipe.compare.backbones)]
    raced += [Entry(ITSELF, backbone, recipe.augmentation, recipe.head) for backbone in backbones]
    unique: dict[tuple[object, ...], Entry] = {}
    for entry in raced:
        unique.setdefault((entry.backbone, entry.augmentation, entry.head), entry)
    return tuple(unique.values())

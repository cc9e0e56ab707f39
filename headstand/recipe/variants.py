"""The sections `variants` and `compare` of a recipe: what is raced against what."""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from headstand.recipe.sections import Backbone, _Section

SECTIONS = ("backbone", "augmentation", "head")
"""What a variant may change: how the network is built and trained. On other photos no two figures compare."""

_RIVAL = r"^(?P<name>[A-Za-z]\w*)(@(?P<size>\d+))?(=(?P<weights>.+))?$"

Positive = Annotated[float, Field(gt=0)]


class Variant(_Section):
    """A named change of the recipe: `backbone.pooling = "max"`, as a dotted key or as a table."""

    name: str = Field(pattern=r"^\S(.{0,58}\S)?$", description="names it in the leaderboard")
    backbone: dict[str, Any] = Field({}, description="keys of the section that are other than the recipe's")
    augmentation: dict[str, Any] = Field({})
    head: dict[str, Any] = Field({})

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, values: Any) -> Any:
        """`"head.dropout" = 0.5` in quotes, as JSON has it, says the same as `head.dropout = 0.5`."""
        if not isinstance(values, dict):
            return values
        nested: dict[str, Any] = {key: value for key, value in values.items() if "." not in key}
        for key, value in values.items():
            section, dot, rest = key.partition(".")
            if dot:
                table = nested.get(section, {})
                if not isinstance(table, dict):
                    raise ValueError(f"{section} = {table!r} and {key} = {value!r} do not go together")
                nested[section] = {**table, rest: value}
        return nested

    def changes(self) -> dict[str, dict[str, Any]]:
        """The changed keys by section."""
        return {section: getattr(self, section) for section in SECTIONS if getattr(self, section)}


class Compare(_Section):
    """What `python -m headstand compare` races beside the variants, and within which limits it picks."""

    backbones: tuple[Annotated[str, Field(pattern=_RIVAL)], ...] = Field(
        (
            "Xception",
            "ResNet50",
            "DenseNet121",
            "VGG16",
            "MobileNetV2",
            "MobileNetV3Small",
            "MobileNetV3Large",
            "EfficientNetB0",
            "EfficientNetV2B0",
        ),
        description="NAME, NAME@SIZE or NAME@SIZE=WEIGHTS; unless said, size and weights are the recipe's (weights "
        "from a file are those of its own backbone only; the others get imagenet)",
    )
    under_ms: Positive | None = Field(None, description="most milliseconds a photo, converted, on one thread")
    under_mb: Positive | None = Field(None, description="most megabytes (10^6 bytes) of the converted model")


def with_backbone(text: str, own: Backbone) -> Backbone:
    """A backbone as `compare.backbones` names it.

    Args:
        text: NAME, NAME@SIZE, NAME=WEIGHTS or NAME@SIZE=WEIGHTS.
        own: the recipe's, which says what the text does not.

    Raises:
        ValueError: no such text, or a size that no backbone can have (pydantic's ValidationError is one).
    """
    match = re.match(_RIVAL, text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME, NAME@SIZE or NAME@SIZE=WEIGHTS")
    values = {key: value for key, value in match.groupdict().items() if value}
    if values["name"] != own.name and own.weights not in ("imagenet", "none"):
        values.setdefault("weights", "imagenet")
    return Backbone.model_validate({**own.model_dump(), **values})

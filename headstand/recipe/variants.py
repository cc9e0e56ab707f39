"""The sections `variants` and `compare` of a recipe: the candidates of `python -m headstand compare`."""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from headstand.recipe.sections import Backbone, _Section, network_file

SECTIONS = ("backbone", "augmentation", "head")
"""Sections that a variant may change. Variants with other photos would not be comparable."""

_BACKBONE = r"^(?P<name>[A-Za-z]\w*|[^@=]+\.(keras|h5)|keras_hub:[^@=]+)(@(?P<size>\d+))?(=(?P<weights>.+))?$"

Positive = Annotated[float, Field(gt=0)]


class Variant(_Section):
    """A named change of the recipe: `backbone.pooling = "max"`, as a dotted key or as a table."""

    name: str = Field(pattern=r"^\S(.{0,58}\S)?$", description="name in the leaderboard")
    backbone: dict[str, Any] = Field({}, description="keys of the section that differ from the recipe")
    augmentation: dict[str, Any] = Field({}, description="the same of the section augmentation")
    head: dict[str, Any] = Field({}, description="the same of the section head")

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, values: Any) -> Any:
        """Accepts quoted dotted keys, as in JSON: `"head.dropout" = 0.5` for `head.dropout = 0.5`."""
        if not isinstance(values, dict):
            return values
        nested: dict[str, Any] = {key: value for key, value in values.items() if "." not in key}
        for key, value in values.items():
            section, dot, rest = key.partition(".")
            if dot:
                table = nested.get(section, {})
                if not isinstance(table, dict):
                    raise ValueError(f"{section} = {table!r} and {key} = {value!r} contradict each other")
                nested[section] = {**table, rest: value}
        return nested

    def changes(self) -> dict[str, dict[str, Any]]:
        """The changed keys by section."""
        return {section: getattr(self, section) for section in SECTIONS if getattr(self, section)}


class Compare(_Section):
    """Backbones that `python -m headstand compare` compares beside the variants, and limits for its choice."""

    backbones: tuple[Annotated[str, Field(pattern=_BACKBONE)], ...] = Field(
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
        description="NAME, NAME@SIZE or NAME@SIZE=WEIGHTS; size and weights default to those of the recipe (a weights "
        "file is used for the recipe's own backbone only; others get imagenet)",
    )
    under_ms: Positive | None = Field(
        None, description="largest latency of the converted model in milliseconds per photo, on one thread"
    )
    under_mb: Positive | None = Field(None, description="largest size of the converted model in megabytes (10^6 bytes)")


def with_backbone(text: str, own: Backbone) -> Backbone:
    """Returns a backbone of `compare.backbones`.

    Args:
        text: NAME, NAME@SIZE, NAME=WEIGHTS or NAME@SIZE=WEIGHTS.
        own: the backbone of the recipe, with the default values.

    Raises:
        ValueError: the text has another form, or the size is not allowed (pydantic's ValidationError is one).
    """
    match = re.match(_BACKBONE, text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME, NAME@SIZE or NAME@SIZE=WEIGHTS")
    values = {key: value for key, value in match.groupdict().items() if value}
    settings = own.model_dump()
    if values["name"] != own.name:  # weights other than random ones, and preprocessing, belong to the network
        settings["preprocessing"] = "auto"
        if own.weights != "none" or network_file(values["name"]):
            del settings["weights"]
    return Backbone.model_validate({**settings, **values})

"""Parsed parts of a Keras configuration: layers, their calls and tensors."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from headstand.errors import HeadstandError


class KerasFileError(HeadstandError):
    """Raised for a Keras file that is damaged, malicious, or has something that is not allowed."""


class Tensor(NamedTuple):
    """Output number `output` of call number `node` of a layer."""

    layer: str
    node: int
    output: int


@dataclass(frozen=True)
class Call:
    """One call of a layer, with `Tensor` in place of tensors."""

    arguments: list[Any]
    keywords: dict[str, Any]


@dataclass(frozen=True)
class LayerConfig:
    """A layer, an operation or a nested network, as stored in the file."""

    kind: str
    name: str
    module: str
    config: dict[str, Any]
    calls: list[Call]
    network: dict[str, Any] | None = None


def shown(value: object) -> str:
    """Returns a value from a file in printable form: quoted, without control characters, cut to 60 characters."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

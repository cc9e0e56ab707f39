"""What a Keras file's configuration is read into: layers, their calls and tensors."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from headstand.errors import HeadstandError


class KerasFileError(HeadstandError):
    """A Keras file that is damaged, made to do harm, or outside of what is allowed."""


class Tensor(NamedTuple):
    """The output number `output` of a layer's call number `node`."""

    layer: str
    node: int
    output: int


@dataclass(frozen=True)
class Call:
    """One use of a layer, with `Tensor` in place of tensors."""

    arguments: list[Any]
    keywords: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A layer, an operation or a network within a network, as the file has it."""

    kind: str
    name: str
    module: str
    config: dict[str, Any]
    calls: list[Call]
    network: dict[str, Any] | None = None


def shown(value: object) -> str:
    """A name or a value from a file, fit for a terminal: quoted, without control characters, cut to 60 characters."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

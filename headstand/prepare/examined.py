"""What preparation needs to know of a file, whatever it holds."""

from dataclasses import dataclass

from headstand.prepare.twins import Signature


@dataclass(frozen=True)
class Examined:
    """A file that can be used.

    `extension` is its real format's, with the dot; `sha256` the hex digest of its bytes; `width` and `height` are as
    stored; `signature` is what it looks like, None for what is no picture: then only exact copies are twins;
    `conversions` are what the decoder does to it besides, as `headstand.prepare.conversion` names it.
    """

    extension: str
    sha256: str
    width: int
    height: int
    signature: Signature | None
    conversions: tuple[str, ...] = ()

"""Metadata of one source file, a photo or another kind of file, that dataset preparation uses."""

from dataclasses import dataclass

from headstand.prepare.near_duplicates import Signature


@dataclass(frozen=True)
class FileMetadata:
    """Metadata of a usable source file.

    Attributes:
        extension: file name extension of the actual format, with the dot.
        sha256: hex digest of the bytes.
        width, height: size in pixels as stored.
        signature: for finding near duplicates; None for files that are not pictures, which only match exact copies.
        conversions: conversions that the decoder applies, keys of `headstand.prepare.conversion.CONVERSIONS`.
    """

    extension: str
    sha256: str
    width: int
    height: int
    signature: Signature | None
    conversions: tuple[str, ...] = ()

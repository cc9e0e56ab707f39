"""One pass over the source's files: which are photos, and what each is like."""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from headstand.images import MAX_BYTES, ImageError, open_image
from headstand.prepare.twins import Signature

EXTENSION = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
"""The file name's end for each format that Pillow finds in a file, whatever the file was called."""


@dataclass(frozen=True)
class Candidate:
    """A source file that decodes: its class, real format's extension, SHA-256, stored size and signature."""

    path: Path
    class_: str
    extension: str
    sha256: str
    width: int
    height: int
    signature: Signature


def scan(photos: tuple[tuple[str, Path], ...]) -> tuple[list[Candidate], list[tuple[Path, str]]]:
    """Decode every file, with as many threads as cores.

    Args:
        photos: `(class, path)`.

    Returns:
        Those that decode, in the order given, and the others with the reason why not.
    """
    found: list[Candidate] = []
    left_out: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(_examine, photos)
        bar = tqdm(results, "reading", len(photos), unit="photo", leave=False, disable=not sys.stderr.isatty())
        for (_, path), result in zip(photos, bar, strict=True):
            if isinstance(result, Candidate):
                found.append(result)
            else:
                left_out.append((path, result))
    return found, left_out


def _examine(photo: tuple[str, Path]) -> Candidate | str:
    class_, path = photo
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        with open_image(data) as image:
            format_, (width, height) = image.format or "", image.size
        signature = Signature.of(data)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return Candidate(path, class_, EXTENSION[format_], hashlib.sha256(data).hexdigest(), width, height, signature)

"""Sizes of the layers of an image.

python -m tests.container.layers     builds for both architectures and prints the table of docs/lambda.md
"""

import gzip
import io
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.container import engines

MODEL = "models/yoga6/yoga6.tflite"

ADDED = ("packages", "code", "model")
"""The last layers, which the Dockerfile adds; the layers below are those of the base image."""


@dataclass
class Layer:
    """A layer: digest of its content, the first 64 bytes of each file by name, size in bytes unpacked and with gzip."""

    digest: str
    files: dict[str, bytes]
    unpacked: int
    compressed: int


def read(archive: Path) -> tuple[dict[str, Any], list[Layer]]:
    """Returns configuration and layers, lowest first, of an image in the format of `docker save`."""
    with tarfile.open(archive) as image:

        def part(name: str) -> bytes:
            file = image.extractfile(name)
            assert file, name
            return file.read()

        [manifest] = json.loads(part("manifest.json"))
        config = json.loads(part(manifest["Config"]))
        pairs = zip(config["rootfs"]["diff_ids"], manifest["Layers"], strict=True)
        return config, [_layer(digest, part(name)) for digest, name in pairs]


def _layer(digest: str, data: bytes) -> Layer:
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member).read(64) for member in tar if member.isfile()}  # type: ignore[union-attr]
        size = sum(member.size for member in tar.getmembers())
    return Layer(digest, files, size, len(gzip.compress(data, 6)))


def main() -> None:
    engine = engines.found()
    print(f"| {engine.name} | unpacked, MB | compressed, MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ("amd64", "arm64"):
            file = Path(folder) / f"{architecture}.tar"
            engine.save(engine.build(architecture, MODEL), file)
            layers = read(file)[1]
            base, added = layers[: -len(ADDED)], layers[-len(ADDED) :]
            named = [("base", base)] + [(name, [layer]) for name, layer in zip(ADDED, added, strict=True)]
            for name, chosen in named:
                sizes = (sum(getattr(layer, what) for layer in chosen) / 1e6 for what in ("unpacked", "compressed"))
                print(f"| {architecture}: {name} |" + "".join(f" {size:.1f} |" for size in sizes))
    engine.close()


if __name__ == "__main__":
    main()

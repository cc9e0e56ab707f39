"""Prepared datasets for the tests, written without preparing anything."""

import hashlib
from pathlib import Path

from headstand.preparation import manifest
from headstand.preparation.manifest import SPLITS, Dataset, Photo
from tests.preparation.photos import encoded, picture


def prepared(folder: Path, classes: tuple[str, ...] = ("cobra", "tree"), each: int = 2) -> Dataset:
    """`each` photos of each class in each split; `folder/SPLIT/CLASS/CLASS0001.jpg` and so on, with the manifest."""
    photos = []
    for class_ in classes:
        number = 0
        for split in SPLITS:
            for _ in range(each):
                number += 1
                path = Path(split, class_, f"{class_}{number:04d}.jpg")
                data = encoded(picture(1000 + len(photos), (24, 20)))
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
                digest = hashlib.sha256(data).hexdigest()
                photos.append(Photo(path.as_posix(), class_, split, digest, 24, 20, len(photos)))
    dataset = Dataset(folder, tuple(photos))
    manifest.write(dataset)
    return dataset

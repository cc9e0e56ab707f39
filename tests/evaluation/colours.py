"""Photos of one colour each, for the tiny bundle, which classifies by colour."""

from pathlib import Path

from PIL import Image

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def write(folder: Path, labelled: dict[str, str]) -> Path:
    """Writes a photo for each name, such as `red/1.png`, whose folder is the label, in the given colour."""
    for name, colour in labelled.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), COLOURS[colour]).save(path)
    return folder

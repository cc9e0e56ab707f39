"""A look at a prepared dataset: how many photos, how large, and what they show."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from headstand.images import decode
from headstand.prepare import manifest
from headstand.prepare.manifest import SPLITS, Dataset, Photo

COLORS = {"train": "#33658a", "validation": "#f6ae2d", "test": "#c1453b"}
SIDE = 112
"""Side of a photo in the gallery, in pixels."""

SHOWN = 8
"""Photos of each class in the gallery."""


def look(folder: Path) -> list[Path]:
    """Draw all plots of a prepared dataset into its `look/`, unless they are newer than its manifest.

    Raises:
        ManifestError: there is no prepared dataset.
        ImageError: a photo that has been damaged since.
    """
    dataset = manifest.read(folder)
    place = folder / "look"
    drawings = {"classes.png": class_counts, "sizes.png": image_sizes, "gallery.png": gallery}
    place.mkdir(exist_ok=True)
    made = (folder / "manifest.csv").stat().st_mtime_ns
    for name, draw in drawings.items():
        if not (place / name).is_file() or (place / name).stat().st_mtime_ns < made:
            part = place / f".{name}.part"
            draw(dataset).savefig(part, format="png", dpi=100)
            part.replace(place / name)
    return [place / name for name in drawings]


def class_counts(dataset: Dataset) -> Figure:
    """Photos per class, one bar a class, stacked by split."""
    figure, rows = _bars(dataset)
    axes = figure.gca()
    left = np.zeros(len(rows))
    for split in SPLITS:
        counts = np.array([sum(photo.class_ == name for photo in dataset.split(split)) for name in rows])
        axes.barh(range(len(rows)), counts, left=left, color=COLORS[split], label=split)
        left += counts
    for row, count in enumerate(left):
        axes.text(count, row, f" {count:.0f}", va="center", fontsize=8)
    axes.margins(x=0.08)
    axes.set_xlabel("photos")
    _title(figure, f"{len(dataset.photos):,} photos in {len(rows)} classes")
    figure.legend(loc="outside lower right", ncols=len(SPLITS), frameon=False, fontsize=9)
    return figure


def image_sizes(dataset: Dataset) -> Figure:
    """Photo sizes per class: a dot a photo, at the square root of its pixel count, and a line at the median."""
    figure, rows = _bars(dataset)
    axes = figure.gca()
    rng = np.random.default_rng(0)
    for row, name in enumerate(rows):
        sides = np.array([math.sqrt(photo.width * photo.height) for photo in dataset.photos if photo.class_ == name])
        axes.scatter(
            sides, row + rng.uniform(-0.3, 0.3, len(sides)), s=5, color=COLORS["train"], alpha=0.4, linewidths=0
        )
        axes.vlines(np.median(sides), row - 0.4, row + 0.4, color=COLORS["test"], linewidth=2)
    axes.set_xscale("log")
    ticks = [side for side in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192) if _within(side, axes.get_xlim())]
    axes.set_xticks(ticks, [str(side) for side in ticks])
    axes.minorticks_off()
    axes.set_xlabel("side of the square with as many pixels")
    _title(figure, "Photo sizes; the line is the class's median")
    return figure


def gallery(dataset: Dataset) -> Figure:
    """Eight photos of each class, drawn evenly from its list; small classes are one beside the other."""
    classes = dataset.classes
    columns = 1 if len(classes) <= 16 else 2
    rows = -(-len(classes) // columns)
    label, gap = 24, 16
    width, height = SHOWN * SIDE + gap, SIDE + label
    canvas = np.full((rows * height, columns * width - gap, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(canvas.shape[1] / 100, canvas.shape[0] / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for place, name in enumerate(classes):
        x, y = place // rows * width, place % rows * height
        photos = [photo for photo in dataset.photos if photo.class_ == name]
        for column, photo in enumerate(_evenly(photos, SHOWN)):
            left = x + column * SIDE
            canvas[y + label : y + height, left : left + SIDE] = _thumbnail(dataset.folder / photo.path)
        axes.text(x + 2, y + label - 7, name, fontsize=10, parse_math=False)
    axes.imshow(canvas, interpolation="none", aspect="auto")
    return figure


def _bars(dataset: Dataset) -> tuple[Figure, tuple[str, ...]]:
    """A figure with a line for each class, the first on top."""
    classes = dataset.classes
    figure = Figure(figsize=(8, 1.2 + max(2.0, 0.22 * len(classes))), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(classes)), [_short(name) for name in classes], fontsize=9, parse_math=False)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure, classes


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=11, x=0.02, ha="left")


def _thumbnail(path: Path) -> np.ndarray:
    """A photo whole in a white square, `uint8 [SIDE, SIDE, 3]`."""
    with_margin = SIDE - 4
    height, width = decode(path).shape[:2]
    scale = with_margin / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = decode(path, size)
    return square


def _evenly(photos: list[Photo], count: int) -> list[Photo]:
    """`count` photos at even distances; they are in file order, so neighbours are often alike."""
    places = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    return [photos[place] for place in places]


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:35]}…"


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]

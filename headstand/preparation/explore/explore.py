"""Exploratory data analysis (EDA) of a prepared dataset: plots of class counts, splits, photo sizes and contents.

Each plot is a function that returns a Matplotlib figure, for use in notebooks; `explore` writes all of them as PNG
files and an HTML report. `gallery` and `mean_images` take `Thumbnails`: pass the same ones to both.
"""

import math
import re
import warnings
from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from headstand import files
from headstand.preparation import manifest
from headstand.preparation.explore import explore_page
from headstand.preparation.explore.contact_sheet import contact_sheet, paste
from headstand.preparation.explore.groups import Groups
from headstand.preparation.explore.thumbnails import FEW, SHOWN, SIDE, Thumbnails, stretched
from headstand.preparation.manifest import SPLITS, Dataset
from headstand.preparation.summary import counts

COLORS = {"train": "#33658a", "validation": "#f6ae2d", "test": "#c1453b"}
"""Colours of the splits, which are distinguishable with colour blindness.

Any two differ by at least 41 in CIE Lab, also for the three kinds of dichromacy (simulated after Machado, Oliveira and
Fernandes 2009, IEEE TVCG 15)."""

DOTS = 300
"""Maximum number of dots of a class in a scatter plot; the median is always that of all photos."""

TALL = 25
"""Number of classes above which a plot has its scale on top, too."""

HIGHEST = 600.0
"""Maximum height of a plot in inches at 100 dpi: Matplotlib draws at most 65,535 pixels."""


def explore(folder: Path) -> list[Path]:
    """Writes the plots and the HTML report of a prepared dataset into its `explore/`, unless they are up to date.

    Returns:
        The paths of the report and of the plots.

    Raises:
        ManifestError: there is no prepared dataset.
        ThumbnailError: a file of the dataset is missing or damaged.
    """
    dataset = manifest.read(folder)
    plots_folder = folder / "explore"
    names = ("classes", "balance", "sizes", "means", "gallery")
    paths = [plots_folder / "index.html", *(plots_folder / f"{name}.png" for name in names)]
    if all(path.is_file() for path in paths) and dataset.digest in paths[0].read_text(encoding="utf-8"):
        return paths
    findings = Groups.of(dataset)
    thumbnails = Thumbnails.of(dataset, findings.photos)
    plots = {
        "classes": _png(class_counts(dataset)),
        "balance": _png(split_balance(dataset)),
        "sizes": _png(image_sizes(dataset)),
        "means": _png(mean_images(dataset, thumbnails)),
        "gallery": _png(gallery(dataset, thumbnails)),
    }
    text = explore_page.page(dataset, findings, thumbnails, plots["sizes"])
    plots_folder.mkdir(exist_ok=True)
    # The report is written last: its manifest digest marks all files as up to date.
    for path, data in reversed(list(zip(paths, [text.encode(), *(plots[name] for name in names)], strict=True))):
        files.write(path, data)
    return paths


def class_counts(dataset: Dataset) -> Figure:
    """Returns a bar chart of the number of photos per class, stacked by split."""
    figure, (axes,) = _rows(dataset)
    totals = _stack(figure, axes, _table(dataset))
    for row, count in enumerate(totals):
        axes.text(count, row, f" {count:.0f}", va="center", fontsize=8)
    axes.margins(x=0.08)
    axes.set_xlabel("photos")
    _title(figure, f"Photos per class: {len(dataset.photos):,} in {len(dataset.classes)} classes")
    return figure


def split_balance(dataset: Dataset) -> Figure:
    """Returns a bar chart of the fraction of each class in each split; dashed lines are those of the whole dataset."""
    figure, (axes,) = _rows(dataset)
    table = _table(dataset)
    _stack(figure, axes, table / table.sum(axis=1, keepdims=True))
    whole = table.sum(axis=0) / table.sum()
    for edge in np.cumsum(whole)[:-1]:
        axes.axvline(edge, color="black", linewidth=1, linestyle="--")
    for row, line in enumerate(table):
        empty = [split for split, count in zip(SPLITS, line, strict=True) if not count]
        if empty:
            axes.text(1.01, row, f"no {' or '.join(empty)}", va="center", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    axes.set_xlabel("share of the class's photos; dashed: of all photos")
    _title(figure, "Split balance: " + ", ".join(f"{s:.0%} {name}" for s, name in zip(whole, SPLITS, strict=True)))
    return figure


def image_sizes(dataset: Dataset) -> Figure:
    """Returns scatter plots of photo size and aspect ratio per class, with a line at the median.

    The size is the square root of the number of pixels, the aspect ratio is width over height.
    """
    figure, (sides, aspects) = _rows(dataset, 2)
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for photo in dataset.photos:
        width, height = max(1, photo.width), max(1, photo.height)
        values[photo.class_].append((math.sqrt(width * height), width / height))
    rng = np.random.default_rng(0)
    for row, name in enumerate(dataset.classes):
        points = np.array(values[name])
        some = points[np.linspace(0, len(points) - 1, min(DOTS, len(points))).astype(int)]
        spread = row + rng.uniform(-0.3, 0.3, len(some))
        for axes, dots, median in zip((sides, aspects), some.T, np.median(points, axis=0), strict=True):
            size, alpha = (5, 0.4) if len(some) > 20 else (12, 0.7)
            axes.scatter(dots, spread, s=size, color=COLORS["train"], alpha=alpha, linewidths=0, zorder=3)
            above = 4 if len(some) > 20 else 1  # drawn above many dots to be visible, below few dots not to hide them
            axes.vlines(median, row - 0.4, row + 0.4, color=COLORS["test"], linewidth=2, zorder=above)
    _logarithmic(sides, {2.0**power: str(2**power) for power in range(14)})
    _logarithmic(aspects, {0.125: "1:8", 0.25: "1:4", 0.5: "1:2", 1: "1:1", 2: "2:1", 4: "4:1", 8: "8:1"})
    sides.set_xlabel("side of the square with as many pixels", fontsize=9)
    aspects.set_xlabel("width : height", fontsize=9)
    _title(figure, "Photo sizes: one dot per photo, lines at the medians")
    return figure


def gallery(dataset: Dataset, thumbnails: Thumbnails | None = None) -> Figure:
    """Returns a contact sheet with eight photos of each class, at even intervals of its list.

    More than `FEW` classes are arranged in two columns.

    Args:
        dataset: the prepared dataset.
        thumbnails: decoded photos of this dataset; decoded here if None.

    Raises:
        ThumbnailError: a photo is missing or damaged.
    """
    thumbnails = thumbnails or Thumbnails.of(dataset)
    side, slot, label = thumbnails.side, thumbnails.side + 4, 22
    cells = []
    for name in dataset.classes:
        strip = np.full((label + side + 6, SHOWN * slot, 3), 255, dtype=np.uint8)
        for column, photo in enumerate(thumbnails.shown[name]):
            paste(strip[label : label + side, column * slot : (column + 1) * slot], thumbnails.pictures[photo.path])
        cells.append(strip)
    sizes = {name: line.sum() for name, line in zip(dataset.classes, _table(dataset), strict=True)}
    names = [f"{_short(name, 64)}  ({sizes[name]:,})" for name in dataset.classes]
    return contact_sheet(cells, names, 1 if len(cells) <= FEW else 2, 4, 10)


def mean_images(dataset: Dataset, thumbnails: Thumbnails | None = None) -> Figure:
    """Returns a contact sheet of the mean image of each class, with contrast stretching.

    Details that the photos of a class have in common remain sharp.

    Args:
        dataset: the prepared dataset.
        thumbnails: decoded photos of this dataset; decoded here if None.

    Raises:
        ThumbnailError: a photo is missing or damaged.
    """
    thumbnails = thumbnails or Thumbnails.of(dataset)
    cells = []
    for name in dataset.classes:
        cell = np.full((SIDE + 36, SIDE + 20, 3), 255, dtype=np.uint8)
        paste(cell[:SIDE], stretched(thumbnails.means[name]))
        cells.append(cell)
    lines = [_two_lines(name) for name in dataset.classes]
    return contact_sheet(cells, lines, min(8, len(cells)), SIDE + 2, 8)


def _png(figure: Figure) -> bytes:
    """Returns a figure as PNG with a palette of 256 colours and dithering.

    Figures with photos take a third of the bytes, with little visible difference.
    """
    data = BytesIO()
    with warnings.catch_warnings():
        # Matplotlib's font lacks some scripts and draws boxes for them; the HTML report shows all class names.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(data, format="png", dpi=100, pil_kwargs={"compress_level": 1})
    image = Image.open(data).convert("RGB")
    colours = Image.new("P", (1, 1))
    sample = image.resize((-(-image.width // 3), -(-image.height // 3)), Image.Resampling.NEAREST)  # enough, and faster
    colours.putpalette([255, 255, 255, *(sample.quantize(255, Image.Quantize.MEDIANCUT).getpalette() or [])])
    indices = np.array(image.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG))
    indices[(np.asarray(image) == 255).all(axis=2)] = 0  # Pillow may map pure white to a similar colour
    reduced = Image.fromarray(indices)
    reduced.putpalette(colours.getpalette() or [])
    small = BytesIO()
    reduced.save(small, "png", optimize=True)
    return small.getvalue()


def _table(dataset: Dataset) -> np.ndarray:
    """Returns the number of photos, `[classes, splits]`."""
    return np.array([[line[split] for split in SPLITS] for line in counts(dataset).values()])


def _stack(figure: Figure, axes: Axes, table: np.ndarray) -> np.ndarray:
    """Draws stacked bars for a table `[classes, splits]` and returns their lengths, `[classes]`."""
    left = np.zeros(len(table))
    for split, values in zip(SPLITS, table.T, strict=True):
        axes.barh(range(len(table)), values, left=left, color=COLORS[split], label=split)
        left += values
    figure.legend(loc="upper right", ncols=len(SPLITS), frameon=False, fontsize=9, borderaxespad=0.1)
    return left


def _rows(dataset: Dataset, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its axes with one row per class, the first on top."""
    classes = dataset.classes
    height = min(1.4 + max(1.2, 0.2 * len(classes)), HIGHEST)
    figure = Figure(figsize=(7.5, height), dpi=100, layout="constrained")
    every = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    every[0].set_yticks(range(len(classes)), [_short(name) for name in classes], fontsize=9, parse_math=False)
    every[0].set_ylim(len(classes) - 0.4, -0.6)
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=9, top=len(classes) > TALL, labeltop=len(classes) > TALL)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    return figure, every


def _logarithmic(axes: Axes, ticks: dict[float, str]) -> None:
    """Sets a logarithmic x scale over a factor of at least four, so that there are ticks even for equal values."""
    low, high = axes.dataLim.intervalx
    middle, reach = math.sqrt(low * high), 1.1 * math.sqrt(max(4, high / low))
    low, high = middle / reach, middle * reach
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    inside = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(inside, [ticks[tick] for tick in inside])
    axes.minorticks_off()


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=11, x=0.02, ha="left")


def _short(name: str, most: int = 36) -> str:
    """Returns a name shortened to `most` characters in the middle, since names often differ at the end."""
    return name if len(name) <= most else f"{name[: most - 13]}…{name[-12:]}"


def _two_lines(name: str, wide: int = 22) -> str:
    if len(name) <= wide:
        return name
    cut = max((match.end() for match in re.finditer(r"[\s_-]", name[:wide])), default=wide)
    return f"{name[:cut]}\n{_short(name[cut:], wide)}"

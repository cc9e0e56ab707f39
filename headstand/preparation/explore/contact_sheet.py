"""Contact sheets: figures with pictures in a grid, each with its name."""

import numpy as np
from matplotlib.figure import Figure


def contact_sheet(cells: list[np.ndarray], names: list[str], columns: int, top: int, fontsize: int) -> Figure:
    """Returns a contact sheet, filled row by row.

    Args:
        cells: pictures `uint8 [height, width, 3]`, all of the same size.
        names: name of each picture.
        columns: number of pictures in a row.
        top: offset in pixels of the name from the top of its cell.
        fontsize: size of the names in points.
    """
    height, width = cells[0].shape[:2]
    gap = 16
    right, bottom = columns * (width + gap) - gap, -(-len(cells) // columns) * height
    figure = Figure(figsize=(right / 100, bottom / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for index, (cell, name) in enumerate(zip(cells, names, strict=True)):
        x, y = index % columns * (width + gap), index // columns * height
        # Each cell is a separate image, because Matplotlib takes 80 bytes per pixel while it draws one.
        axes.imshow(cell, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto")
        axes.text(x + 2, y + top, name, fontsize=fontsize, va="top", parse_math=False)
    axes.set_xlim(0, right)
    axes.set_ylim(bottom, 0)
    return figure


def paste(target: np.ndarray, picture: np.ndarray) -> None:
    """Copies a picture into the centre of a larger array, in place."""
    top, left = (target.shape[0] - picture.shape[0]) // 2, (target.shape[1] - picture.shape[1]) // 2
    target[top : top + picture.shape[0], left : left + picture.shape[1]] = picture

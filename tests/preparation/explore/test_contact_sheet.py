import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from headstand.preparation.explore.contact_sheet import contact_sheet, paste


def test_cells_are_arranged_row_by_row():
    random = np.random.default_rng(0)
    cells = [random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(5)]
    figure = contact_sheet(cells, list("abcde"), 2, 3, 8)
    texts = figure.gca().texts
    assert [text.get_text() for text in texts] == list("abcde")
    assert [text.get_position() for text in texts] == [(2, 3), (58, 3), (2, 33), (58, 33), (2, 63)]
    for text in texts:
        text.set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    assert drawn.shape == (90, 96, 3)
    for index, cell in enumerate(cells):
        top, left = index // 2 * 30, index % 2 * 56
        assert np.array_equal(drawn[top : top + 30, left : left + 40], cell)
    assert (drawn[:, 40:56] == 255).all() and (drawn[60:, 40:] == 255).all()


def test_names_are_not_parsed_as_formulas():
    (text,) = contact_sheet([np.zeros((9, 9, 3), dtype=np.uint8)], ["$x_{"], 1, 0, 8).gca().texts
    assert not text.get_parse_math()


def test_a_picture_is_pasted_into_the_middle():
    canvas = np.zeros((5, 8), dtype=np.uint8)
    paste(canvas, np.full((3, 2), 7, dtype=np.uint8))
    assert canvas.sum() == 42
    assert (canvas[1:4, 3:5] == 7).all()

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from headstand.compare.plot import scatter
from headstand.compare.result import Result
from headstand.compare.winner import choose
from headstand.recipe.variants import Compare
from tests.compare.results import result


def texts(figure: Figure) -> list[Text]:
    FigureCanvasAgg(figure).draw()
    found = [text for axes in figure.axes for text in axes.texts]
    return [text for text in found if text.get_text()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]
    return [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.overlaps(b)]


def crowd(count: int, unmeasured: int) -> list[Result]:
    """Many entries at the same latency and nearly the same accuracy, as the variants of one backbone are."""
    rows = [result(f"variant {n}", "1" * (90 + n % 3) + "0" * (10 - n % 3), 9, 5) for n in range(count)]
    return rows + [result(f"other {n}", None, 9 + n, 5 + n % 2, trained=False) for n in range(unmeasured)]


@pytest.mark.parametrize(("count", "unmeasured"), [(1, 0), (8, 9), (25, 0), (0, 6), (2, 1)])
def test_no_name_lies_on_another_or_leaves_the_picture(count: int, unmeasured: int) -> None:
    results = crowd(count, unmeasured)
    figure = scatter(results, Compare(under_ms=50), choose(results, Compare()))
    assert len(texts(figure)) == count + unmeasured
    assert overlaps(figure) == []
    width, height = figure.canvas.get_width_height()
    for text in texts(figure):
        box = Text.get_window_extent(text)
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height


def test_points_lie_at_latency_and_accuracy_and_the_selected_entry_is_marked() -> None:
    results = [result("slow", "1" * 9 + "0", 40, 20), result("quick", "1" * 8 + "00", 10, 4), result("none", None, 3)]
    figure = scatter(results, Compare(), choose(results, Compare()))
    below, above = figure.axes
    bubbles = [each for each in above.collections if isinstance(each, PathCollection)]
    assert [tuple(map(float, each.get_offsets()[0])) for each in bubbles[::2]] == [(20.0, 0.9), (4.0, 0.8)]
    assert bubbles[0].get_sizes()[0] == 4 * bubbles[2].get_sizes()[0]
    assert [text.get_text() for text in above.texts] == [
        "0.900  MobileNet@32 slow",
        "0.800  MobileNet@32 quick  (selected)",
    ]
    assert [text.get_text() for text in below.texts] == ["5.0 ms, 3 MB  MobileNet@32 none"]
    assert above.get_xlim() == below.get_xlim()


def test_equal_latencies_stand_side_by_side() -> None:
    figure = scatter([result("a"), result("b")], Compare())
    (axes,) = figure.axes
    one, other = (float(line.get_xdata()[0]) for line in axes.lines[:2])  # type: ignore[index]
    assert one < 5 < other
    assert other / one == pytest.approx(1.012)


def test_nothing_to_draw_is_no_error() -> None:
    assert scatter([result("a", None, None)], Compare(under_ms=1)).axes == []

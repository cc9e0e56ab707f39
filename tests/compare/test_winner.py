from headstand.compare.winner import choose, fits, order
from headstand.recipe.variants import Compare
from tests.compare.results import result

FREE = Compare()


def test_only_photos_that_one_of_two_gets_right_separate_them() -> None:
    """Both miss 30 of 200 photos: the same ones but for six, or not."""
    best = result("best", "1" * 170 + "0" * 30, megabytes=80)
    same = result("same", "1" * 164 + "0" * 36, megabytes=1)
    other = result("other", "0" * 30 + "1" * 164 + "0" * 6, megabytes=2)
    choice = choose([best, same, other], FREE)
    assert choice is not None
    # `other` is as inaccurate as `same`, but errs on other photos, so that its accuracy is known less well.
    assert choice.indistinguishable == (best, other)
    assert choice.selected is other


def test_within_noise_the_cheapest_is_selected() -> None:
    best = result("best", "1" * 39 + "0", megabytes=80, milliseconds=40)
    cheap = result("cheap", "1" * 36 + "0" * 4, megabytes=10, milliseconds=4)
    small = result("small", "1" * 35 + "0" * 5, megabytes=5, milliseconds=10)
    bad = result("bad", "1" * 20 + "0" * 20, megabytes=1, milliseconds=1)
    choice = choose([bad, cheap, small, best], FREE)
    assert choice is not None
    assert (choice.best, choice.selected) == (best, cheap)
    assert choice.indistinguishable == (best, cheap, small)


def test_beyond_noise_the_most_accurate_is_selected() -> None:
    best, cheap = result("best", "1" * 40, megabytes=80), result("cheap", "1" * 30 + "0" * 10, megabytes=1)
    choice = choose([cheap, best], FREE)
    assert choice is not None
    assert (choice.best, choice.selected, choice.indistinguishable) == (best, best, (best,))


def test_among_equal_models_the_most_accurate_then_the_lower_loss() -> None:
    worse, better = result("worse", "1" * 38 + "00"), result("better", "1" * 39 + "0", loss=0.4)
    equal = result("equal", "1" * 39 + "0", loss=0.3)
    choice = choose([worse, better, equal], FREE)
    assert choice is not None
    assert choice.selected is equal


def test_the_budget_counts_before_accuracy() -> None:
    best = result("best", "1" * 40, megabytes=80, milliseconds=40)
    light = result("light", "1" * 30 + "0" * 10, megabytes=9, milliseconds=45)
    quick = result("quick", "1" * 20 + "0" * 20, megabytes=70, milliseconds=3)

    def selected(**limits: float) -> str | None:
        choice = choose([best, light, quick], Compare(**limits))  # type: ignore[arg-type]
        return choice and choice.selected.entry.variant

    assert selected(under_mb=30) == "light"
    assert selected(under_ms=30) == "quick"
    assert selected(under_ms=40, under_mb=80) == "best"
    assert selected(under_ms=30, under_mb=30) is None


def test_what_is_not_measured_is_never_selected() -> None:
    unscored = result("unscored", None, megabytes=1, milliseconds=1)
    unweighed = result("unweighed", "1" * 40, megabytes=None)
    slow = result("slow", "1" * 39 + "0", milliseconds=50)
    assert choose([unscored], FREE) is None
    choice = choose([unscored, unweighed, slow], Compare(under_ms=60))
    assert choice is not None
    assert choice.selected is slow
    assert not fits(unweighed.model_size, Compare(under_mb=1e9))
    choice = choose([unweighed, slow], FREE)
    assert choice is not None
    assert (choice.best, choice.selected) == (unweighed, slow)
    choice = choose([unweighed], FREE)
    assert choice is not None
    assert choice.selected is unweighed


def test_the_order_of_the_leaderboard() -> None:
    first, second, third = result("a", "111"), result("b", "110", loss=0.1), result("c", "110", loss=0.2)
    quick, slow = result("d", None, milliseconds=1), result("e", None, milliseconds=9)
    unknown = result("f", None, megabytes=None)
    rows = [unknown, slow, third, quick, first, second]
    assert [row.entry.variant for row in sorted(rows, key=order)] == list("abcdef")

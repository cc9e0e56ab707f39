import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.prepare.split import SplitError, divide, straddling
from headstand.recipe import Split

SETTINGS = Split()
ORDERED = Split(strategy="ordered")


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


@st.composite
def datasets(draw):
    """Classes, digests and groups; each class has three groups at least, now and then a group has two classes."""
    classes, groups, group = [], [], 0
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True))
    for name in names:
        for size in draw(st.lists(st.integers(1, 6), min_size=3, max_size=25)):
            classes += [name] * size
            groups += [group] * size
            group += 1
    return classes, [digest(place) for place in range(len(classes))], np.array(groups)


@given(datasets(), st.integers(0, 99))
def test_groups_stay_whole_fractions_hold_and_every_class_is_everywhere(dataset, seed):
    classes, digests, groups = dataset
    splits = divide(classes, digests, groups, SETTINGS, seed)
    assert straddling(groups, splits) == 0
    for name in set(classes):
        mine = [place for place, other in enumerate(classes) if other == name]
        largest = max(Counter(groups[mine].tolist()).values())
        counts = Counter(splits[place] for place in mine)
        for split, fraction in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            assert counts[split] >= 1
            assert abs(counts[split] - fraction * len(mine)) <= largest + 1


@given(datasets(), st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(dataset, random):
    classes, digests, groups = dataset
    order = list(range(len(classes)))
    random.shuffle(order)
    straight = divide(classes, digests, groups, SETTINGS, 1)
    shuffled = divide([classes[p] for p in order], [digests[p] for p in order], groups[order], SETTINGS, 1)
    assert shuffled == [straight[place] for place in order]


def test_single_photos_hit_the_fractions_exactly_and_the_seed_draws():
    classes, digests = ["a"] * 100 + ["b"] * 50, [digest(place) for place in range(150)]
    draws = [divide(classes, digests, np.arange(150), SETTINGS, seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert Counter(zip(classes, draws[2], strict=True)) == {
        ("a", "train"): 60, ("a", "validation"): 20, ("a", "test"): 20,
        ("b", "train"): 30, ("b", "validation"): 10, ("b", "test"): 10,
    }  # fmt: skip


def test_large_groups_do_not_all_go_to_train():
    groups = np.repeat(np.arange(20), 5)
    places = Counter()
    for seed in range(30):
        places.update(divide(["a"] * 100, [digest(p) for p in range(100)], groups, SETTINGS, seed)[::5])
    assert places == {"train": 360, "validation": 120, "test": 120}
    mixed = np.append(np.zeros(10, int), np.arange(1, 91))
    first = Counter(divide(["a"] * 100, [digest(p) for p in range(100)], mixed, SETTINGS, s)[0] for s in range(60))
    assert all(first[split] >= 4 for split in ("train", "validation", "test"))


def test_a_group_with_two_labels_stays_in_one_split():
    classes = ["a"] * 10 + ["b"] * 10
    groups = np.arange(20)
    groups[[3, 4, 12]] = 3
    for seed in range(20):
        splits = divide(classes, [digest(place) for place in range(20)], groups, SETTINGS, seed)
        assert splits[3] == splits[4] == splits[12]
        assert Counter(splits[:10]) == Counter(splits[10:]) == {"train": 6, "validation": 2, "test": 2}


def test_another_class_does_not_change_the_draw():
    digests = [digest(place) for place in range(40)]
    alone = divide(["a"] * 20, digests[:20], np.arange(20), SETTINGS, 1)
    assert divide(["a"] * 20 + ["b"] * 20, digests, np.arange(40), SETTINGS, 1)[:20] == alone


def test_ordered_takes_the_first_then_the_next_then_the_rest():
    classes = ["b", "a"] * 10
    splits = divide(classes, ["0"] * 20, np.zeros(20, int), ORDERED, 1)
    for start in (0, 1):
        assert splits[start::2] == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    assert straddling(np.zeros(20, int), splits) == 1
    assert straddling(np.arange(20), splits) == 0


@pytest.mark.parametrize("count", [3, 4, 5, 7])
@pytest.mark.parametrize("train", [0.98, 0.02])
@pytest.mark.parametrize("strategy", ["grouped", "ordered"])
def test_small_classes_and_odd_fractions_fill_every_split(count, train, strategy):
    chosen = Split(train=train, validation=(1 - train) / 2, test=(1 - train) / 2, strategy=strategy)
    splits = divide(["a"] * count, [digest(p) for p in range(count)], np.arange(count), chosen, 1)
    assert set(splits) == {"train", "validation", "test"}


def test_too_few_photos_are_told_with_class_and_count():
    with pytest.raises(SplitError, match=r"class 'rare' has 2 usable photos, and each class needs three"):
        divide(["rare"] * 2 + ["full"] * 9, ["0"] * 11, np.arange(11), SETTINGS, 1)
    with pytest.raises(SplitError, match=r"class 'rare' has 1 usable photo,"):
        divide(["rare"], ["0"], np.arange(1), ORDERED, 1)


def test_too_few_different_photos_are_told():
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    with pytest.raises(SplitError, match=r"class 'same' has 2 different photos only"):
        divide(["same"] * 5 + ["full"] * 3, [digest(p) for p in range(8)], groups, SETTINGS, 1)

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from headstand.preparation.split import SplitError, check_train, divide, in_several_splits, join, kept
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
    return classes, [digest(index) for index in range(len(classes))], np.array(groups)


@settings(max_examples=50)
@drawn(datasets(), st.integers(0, 99))
def test_groups_are_not_divided_fractions_hold_and_every_class_is_in_every_split(dataset, seed):
    classes, digests, groups = dataset
    splits = divide(classes, digests, groups, SETTINGS, seed)
    assert in_several_splits(groups, splits) == 0
    for name in set(classes):
        indices = [index for index, other in enumerate(classes) if other == name]
        largest = max(Counter(groups[indices].tolist()).values())
        counts = Counter(splits[index] for index in indices)
        for split, fraction in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            assert counts[split] >= 1
            assert abs(counts[split] - fraction * len(indices)) <= largest + 1


@settings(max_examples=50)
@drawn(datasets(), st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(dataset, random):
    classes, digests, groups = dataset
    order = list(range(len(classes)))
    random.shuffle(order)
    ordered = divide(classes, digests, groups, SETTINGS, 1)
    shuffled = divide([classes[p] for p in order], [digests[p] for p in order], groups[order], SETTINGS, 1)
    assert shuffled == [ordered[index] for index in order]


def test_single_photos_hit_the_fractions_exactly_and_the_seed_draws():
    classes, digests = ["a"] * 100 + ["b"] * 50, [digest(index) for index in range(150)]
    draws = [divide(classes, digests, np.arange(150), SETTINGS, seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert Counter(zip(classes, draws[2], strict=True)) == {
        ("a", "train"): 60, ("a", "validation"): 20, ("a", "test"): 20,
        ("b", "train"): 30, ("b", "validation"): 10, ("b", "test"): 10,
    }  # fmt: skip


def test_large_groups_do_not_all_go_to_train():
    groups = np.repeat(np.arange(20), 5)
    counts = Counter()
    for seed in range(30):
        counts.update(divide(["a"] * 100, [digest(p) for p in range(100)], groups, SETTINGS, seed)[::5])
    assert counts == {"train": 360, "validation": 120, "test": 120}
    mixed = np.append(np.zeros(10, int), np.arange(1, 91))
    first = Counter(divide(["a"] * 100, [digest(p) for p in range(100)], mixed, SETTINGS, s)[0] for s in range(60))
    assert all(first[split] >= 4 for split in ("train", "validation", "test"))


def test_a_group_with_two_labels_stays_in_one_split():
    classes = ["a"] * 10 + ["b"] * 10
    groups = np.arange(20)
    groups[[3, 4, 12]] = 3
    for seed in range(20):
        splits = divide(classes, [digest(index) for index in range(20)], groups, SETTINGS, seed)
        assert splits[3] == splits[4] == splits[12]
        assert Counter(splits[:10]) == Counter(splits[10:]) == {"train": 6, "validation": 2, "test": 2}


def test_another_class_does_not_change_the_draw():
    digests = [digest(index) for index in range(40)]
    expected = divide(["a"] * 20, digests[:20], np.arange(20), SETTINGS, 1)
    assert divide(["a"] * 20 + ["b"] * 20, digests, np.arange(40), SETTINGS, 1)[:20] == expected


def test_ordered_takes_the_first_then_the_next_then_the_rest():
    classes = ["b", "a"] * 10
    splits = divide(classes, ["0"] * 20, np.zeros(20, int), ORDERED, 1)
    for start in (0, 1):
        assert splits[start::2] == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    assert in_several_splits(np.zeros(20, int), splits) == 1
    assert in_several_splits(np.arange(20), splits) == 0


@pytest.mark.parametrize("count", [3, 4, 5, 7])
@pytest.mark.parametrize("train", [0.98, 0.02])
@pytest.mark.parametrize("strategy", ["grouped", "ordered"])
def test_small_classes_and_odd_fractions_fill_every_split(count, train, strategy):
    chosen = Split(train=train, validation=(1 - train) / 2, test=(1 - train) / 2, strategy=strategy)
    splits = divide(["a"] * count, [digest(p) for p in range(count)], np.arange(count), chosen, 1)
    assert set(splits) == {"train", "validation", "test"}


def test_too_few_photos_are_reported_with_class_and_count():
    with pytest.raises(SplitError, match=r"class 'rare' has 2 usable photos, and each class needs three"):
        divide(["rare"] * 2 + ["full"] * 9, ["0"] * 11, np.arange(11), SETTINGS, 1)
    with pytest.raises(SplitError, match=r"class 'rare' has 1 usable photo,"):
        divide(["rare"], ["0"], np.arange(1), ORDERED, 1)


def test_too_few_different_photos_are_reported():
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    with pytest.raises(SplitError, match=r"class 'same' has 2 different photos only"):
        divide(["same"] * 5 + ["full"] * 3, [digest(p) for p in range(8)], groups, SETTINGS, 1)


def given(classes, splits, groups=None, settings=SETTINGS, seed=1):
    digests = [digest(index) for index in range(len(classes))]
    return divide(classes, digests, np.arange(len(classes)) if groups is None else groups, settings, seed, splits)


def test_splits_that_are_all_given_are_kept():
    splits = ["train", "test", "validation", "train", "test", "validation"]
    assert given(["a"] * 3 + ["b"] * 3, splits) == splits


@pytest.mark.parametrize("strategy", ["grouped", "ordered"])
@pytest.mark.parametrize(
    ("kept", "counts"),
    [
        ("test", {"train": 75, "validation": 25}),  # 0.6 : 0.2
        ("validation", {"train": 75, "test": 25}),
    ],
)
@pytest.mark.parametrize("rest", ["train", ""])
def test_a_missing_split_is_taken_from_train_or_from_unassigned_photos(strategy, kept, counts, rest):
    splits = given(["a"] * 110, [kept] * 10 + [rest] * 100, settings=Split(strategy=strategy))
    assert splits[:10] == [kept] * 10
    assert Counter(splits[10:]) == counts
    if strategy == "ordered":
        assert splits[10:85] == ["train"] * 75


def test_both_missing_splits_are_cut_from_train():
    assert Counter(given(["a"] * 50, ["train"] * 50)) == {"train": 30, "validation": 10, "test": 10}


def test_unassigned_photos_go_to_train_if_all_splits_are_given():
    splits = given(["a"] * 12, ["validation"] * 2 + ["test"] * 2 + ["train"] + [""] * 7)
    assert splits == ["validation"] * 2 + ["test"] * 2 + ["train"] * 8


def test_unassigned_photos_follow_the_given_photos_of_their_group():
    groups = np.array([0, 1, *range(2, 30)])
    groups[[10, 11]] = 0
    groups[[12]] = 1
    splits = given(["a"] * 30, ["test", "train"] + [""] * 28, groups)
    assert splits[10] == splits[11] == "test"
    assert splits[12] == "train"
    assert in_several_splits(groups, splits) == 0


def test_training_photos_do_not_follow_their_near_duplicates_into_the_given_test_split():
    groups = np.arange(20)
    groups[[0, 15]] = 0
    splits = given(["a"] * 20, ["test"] * 5 + ["train"] * 15, groups)
    assert Counter(splits) == {"test": 5, "train": 11, "validation": 4}
    assert in_several_splits(groups, splits) == 1


@settings(max_examples=50)
@drawn(datasets(), st.integers(0, 9))
def test_groups_of_unassigned_photos_are_not_divided(dataset, seed):
    classes, digests, groups = dataset
    names = sorted(set(classes))
    splits = divide(
        classes + names, digests + [digest(name) for name in names],
        np.append(groups, groups.max() + 1 + np.arange(len(names))), SETTINGS, seed,
        [""] * len(classes) + ["test"] * len(names),
    )  # fmt: skip
    assert splits[len(classes) :] == ["test"] * len(names)
    assert "test" not in splits[: len(classes)]
    assert in_several_splits(groups, splits[: len(classes)]) == 0
    assert set(zip(classes + names, splits, strict=True)) == {
        (name, split) for name in names for split in ("train", "validation", "test")
    }


def test_a_given_validation_or_test_may_lack_a_class():
    splits = given(["a"] * 6 + ["b"] * 6, ["test"] * 2 + ["train"] * 10)
    assert Counter(zip(["a"] * 6 + ["b"] * 6, splits, strict=True)) == {
        ("a", "test"): 2, ("a", "train"): 3, ("a", "validation"): 1, ("b", "train"): 4, ("b", "validation"): 2,
    }  # fmt: skip
    splits = ["train", "train", "validation", "test", "test"]
    assert given(["a", "b", "a", "a", "b"], splits) == splits


def test_a_class_without_photos_in_a_given_train_is_an_error_with_the_option():
    with pytest.raises(SplitError, match=r"train lacks the class a: .*--split.recut all"):
        given(["a", "b", "b", "b"], ["test", "train", "validation", "test"])
    with pytest.raises(SplitError, match="train lacks the classes a, c: "):
        check_train(["c", "a", "b"], ["test", "validation", "train"])
    check_train(["a", "b"], ["", "train"])


@pytest.mark.parametrize(
    ("recut", "expected"),
    [
        ("none", ["train", "validation", "test", ""]),
        ("validation", ["train", "train", "test", ""]),
        ("all", ["", "", "", ""]),
    ],
)
def test_recut_gives_up_splits_of_the_source(recut, expected):
    assert kept(["train", "validation", "test", ""], Split(recut=recut)) == expected


def test_the_error_for_frames_of_one_clip_names_the_ordered_strategy_and_its_cost():
    with pytest.raises(SplitError, match=r"--split.strategy ordered: .*figures hold for these clips only"):
        divide(["clip"] * 9, [digest(p) for p in range(9)], np.zeros(9, int), SETTINGS, 1)
    assert Counter(divide(["clip"] * 9, [digest(p) for p in range(9)], np.zeros(9, int), ORDERED, 1)) == {
        "train": 5, "validation": 2, "test": 2,
    }  # fmt: skip


def test_too_few_unassigned_photos_are_reported():
    with pytest.raises(
        SplitError,
        match=r"'a' has 1 usable photo to divide, .*needs two at least, one for train and one for validation",
    ):
        given(["a"] * 3, ["test", "test", "train"])
    with pytest.raises(
        SplitError, match=r"'a' has 1 different photos only, .*needs two, one for train and one for val"
    ):
        given(["a"] * 5, ["test", "test", "train", "train", "train"], np.array([0, 1, 2, 2, 2]))


def test_join_merges_groups_that_share_a_name():
    groups = np.array([0, 1, 2, 0, 3, 4, 5])
    assert join(groups, [""] * 7).tolist() == groups.tolist()
    #      name "x" ties 1 and 3, "y" ties 3 (through its group) and 5; empty ties nothing
    assert join(groups, ["", "x", "", "", "x", "", ""]).tolist() == [0, 1, 2, 0, 1, 3, 4]
    assert join(groups, ["", "x", "", "y", "x", "y", ""]).tolist() == [0, 1, 2, 0, 1, 0, 3]
    assert join(groups, ["x", "x", "y", "", "y", "x", "y"]).tolist() == [0, 0, 1, 0, 1, 0, 1]


@drawn(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["", "a", "b", "c", "d"])), min_size=1, max_size=30))
def test_join_gives_the_connected_components(pairs):
    numbers = {}
    groups = np.array([numbers.setdefault(group, len(numbers)) for group, _ in pairs])
    names = [name for _, name in pairs]
    label = list(range(len(pairs)))
    for _ in pairs:
        for i in range(len(pairs)):
            for j in range(len(pairs)):
                if groups[i] == groups[j] or (names[i] and names[i] == names[j]):
                    label[i] = label[j] = min(label[i], label[j])
    components = {}
    assert join(groups, names).tolist() == [components.setdefault(index, len(components)) for index in label]

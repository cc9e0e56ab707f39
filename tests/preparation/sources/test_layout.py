import unicodedata
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.preparation.sources.layout import FolderError, recognise


def photos(*folders, count=2):
    """`count` photos in each folder; a text after a colon is the prefix of their names."""
    paths = []
    for folder in folders:
        folder, _, prefix = folder.partition(":")
        paths += [f"{folder}/{prefix}{number}.jpg".removeprefix("/") for number in range(1, count + 1)]
    return paths


def read(layout):
    """`{class: {split: {folders}}}` of a layout."""
    found = defaultdict(lambda: defaultdict(set))
    for path, class_, split in layout.photos:
        found[class_][split].add(path.rpartition("/")[0])
    return {class_: {split: sorted(folders) for split, folders in splits.items()} for class_, splits in found.items()}


def in_splits(classes, **folders):
    """What `read` gives for class folders in the split folders given by name."""
    return {class_: {split: [f"{folder}/{class_}"] for split, folder in folders.items()} for class_ in classes.split()}


def plain(classes, below=""):
    return {class_: {"": [below + class_]} for class_ in classes.split()}


def under(folder, classes):
    return [f"{folder}/{class_}" for class_ in classes.split()]


def divided(classes, *others, **folders):
    """A case of `LAYOUTS`: class folders in the split folders given by name, and `others` beside them."""
    splits = ", ".join(f"{split} ({folder})" for split, folder in folders.items())
    return (
        photos(*(path for folder in folders.values() for path in under(folder, classes)), *others),
        in_splits(classes, **folders),
        f"layout: splits {splits}; one folder per class in each",
    )


PNEUMONIA = [f"{split}/{class_}" for split in ("train", "val", "test") for class_ in ("NORMAL", "PNEUMONIA")]

LAYOUTS = {
    "cats and dogs, nested splits": divided(
        "cats dogs", train="training_set/training_set", test="test_set/test_set"
    ),
    "dogs vs cats, classes in the names": (
        photos("train:cat.", "train:dog.", "test1"),
        {"cat": {"": ["train"]}, "dog": {"": ["train"]}},
        "layout: the photos' names are their classes (cat, dog); splits train (train)",
    ),
    "classes in the names of both splits": (
        photos("train:cat.", "train:dog.", "test:cat.", "test:dog."),
        {name: {"train": ["train"], "test": ["test"]} for name in ("cat", "dog")},
        "layout: the photos' names are their classes (cat, dog); splits train (train), test (test)",
    ),
    "intel image classification": divided(
        "sea street", "seg_pred/x", train="seg_train/seg_train", test="seg_test/seg_test"
    ),
    "a test with labels and one without": divided("a b", "test1", train="training_set", test="test_set"),
    "wrapped": divided("a b", train="Dataset/train", validation="Dataset/valid", test="Dataset/test"),
    "images in Training and Testing": divided("glioma notumor", train="images/Training", test="images/Testing"),
    "chest x-ray with its copy": divided(
        "NORMAL PNEUMONIA", *(f"chest_xray/chest_xray/{one}" for one in PNEUMONIA),
        train="chest_xray/train", validation="chest_xray/val", test="chest_xray/test",
    ),
    "flowers with a copy in them": (
        photos(*under("flowers", "daisy rose tulip"), *under("flowers/flowers", "daisy rose tulip")),
        plain("daisy rose tulip", "flowers/"),
        "layout: one folder per class",
    ),
    "a partial copy beside the whole": (
        photos(*under("data", "a b")) + photos(*under("", "a b"), count=1),
        plain("a b", "data/"),
        "layout: one folder per class",
    ),
    "asl alphabet": (
        photos(*under("asl_alphabet_train/asl_alphabet_train", "A B nothing"), "asl_alphabet_test/asl_alphabet_test"),
        plain("A B nothing", "asl_alphabet_train/asl_alphabet_train/"),
        "layout: splits train (asl_alphabet_train/asl_alphabet_train); one folder per class in each",
    ),
    "test photos in a folder for Keras": divided("a b", "test/unknown", train="train", validation="validation"),
    "data/raw": (photos(*under("data/raw", "a b")), plain("a b", "data/raw/"), "layout: one folder per class"),
    "folds": (
        photos(*(f"fold{number}/{name}" for number in range(1, 6) for name in ("a", "b"))),
        {name: {"": [f"fold{number}/{name}" for number in range(1, 6)]} for name in ("a", "b")},
        "layout: 5 parts (fold1, fold2, fold3, fold4, fold5), joined; one folder per class in each",
    ),
    "parts that lack a class": (
        photos(*under("part 1", "a b c"), *under("part 2", "a b")),
        {"a": {"": ["part 1/a", "part 2/a"]}, "b": {"": ["part 1/b", "part 2/b"]}, "c": {"": ["part 1/c"]}},
        "layout: 2 parts (part 1, part 2), joined; one folder per class in each",
    ),
    "class/split": (
        photos(*under("cat", "train val test"), *under("dog", "train val test")),
        {
            "cat": {"train": ["cat/train"], "validation": ["cat/val"], "test": ["cat/test"]},
            "dog": {"train": ["dog/train"], "validation": ["dog/val"], "test": ["dog/test"]},
        },
        "layout: one folder per class, with folders for train, validation, test in each; --source.layout classes "
        "divides them anew",
    ),
    "horse2zebra": (
        photos("trainA", "trainB", "testA", "testB"),
        {"a": {"train": ["trainA"], "test": ["testA"]}, "b": {"train": ["trainB"], "test": ["testB"]}},
        "layout: each folder is a class in a split, by its name (testA, testB, trainA, trainB)",
    ),
    "class and split in one name": (
        photos("cats_train", "cats_test", "dogs_train", "dogs_test"),
        {name: {"train": [f"{name}_train"], "test": [f"{name}_test"]} for name in ("cats", "dogs")},
        "layout: each folder is a class in a split, by its name (cats_test, cats_train, dogs_test, dogs_train)",
    ),
    "superclass/class": (
        photos(*under("animals", "cat dog"), *under("vehicles", "bus car")),
        {"animals": {"": ["animals/cat", "animals/dog"]}, "vehicles": {"": ["vehicles/bus", "vehicles/car"]}},
        "layout: one folder per class; animals, vehicles hold further folders (bus, car, cat, dog), whose photos count "
        "for the outer class: --source.layout inner makes each innermost folder a class",
    ),
    "one class with folders of its own": (
        photos("tree", "tree/more", "cobra"),
        {"cobra": {"": ["cobra"]}, "tree": {"": ["tree", "tree/more"]}},
        "layout: one folder per class; tree holds further folders (more), whose photos count for the outer class: "
        "--source.layout inner makes each innermost folder a class",
    ),
    "one folder in each class": (
        photos("cat/images", "dog/images"), {"cat": {"": ["cat/images"]}, "dog": {"": ["dog/images"]}},
        "layout: one folder per class",
    ),
    "a real class named train": (
        photos("train", "car", "plane"), plain("train car plane"), "layout: one folder per class",
    ),
    "classes named train and test": (
        photos("train", "test", "car"), plain("train test car"), "layout: one folder per class",
    ),
    "a class named unknown": (photos("unknown", "yes", "no"), plain("unknown yes no"), "layout: one folder per class"),
    "train alone": (photos(*under("train", "a b")), plain("a b", "train/"), "layout: one folder per class"),
    "train and dev": divided("a b", train="TRAIN", validation="Dev"),
    "digits as classes": (photos(*map(str, range(10))), plain("0 1 2 3 4 5 6 7 8 9"), "layout: one folder per class"),
    "validation without a class": (
        photos(*under("train", "a b c"), *under("val", "a b")),
        {**in_splits("a b", train="train", validation="val"), **in_splits("c", train="train")},
        "layout: splits train (train), validation (val); one folder per class in each",
    ),
    "train_images with class folders": divided("a b", train="train_images", test="test_images"),
    "trainset and testset": divided("a b", train="trainset", test="testset"),
    "fruits in deep folders": divided(
        "Apple Banana", train="fruits-360_dataset/fruits-360/Training", test="fruits-360_dataset/fruits-360/Test"
    ),
    "rps beside rps-test-set": divided("paper rock scissors", train="rps/rps", test="rps-test-set/rps-test-set"),
    "and photos without labels": divided("paper rock", "rps-val", "rps_validation/x", train="rps", test="rps test"),
    "a class and another with the word test": (
        photos("rps", "rps-test-set"), plain("rps rps-test-set"), "layout: one folder per class",
    ),
    "these with folders of their own": (
        photos(*under("car", "left right"), *under("car test", "left wet")),
        {"car": {"": ["car/left", "car/right"]}, "car test": {"": ["car test/left", "car test/wet"]}},
        "layout: one folder per class; car, car test hold further folders (left, right, wet), whose photos count for "
        "the outer class: --source.layout inner makes each innermost folder a class",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised(name):
    paths, expected, line = LAYOUTS[name]
    found = recognise(paths)
    assert read(found) == expected
    assert found.lines[0] == line
    assert recognise(reversed(paths)) == found


REFUSED = {
    "original and augmented": (
        photos(*under("original", "a b"), *under("augmented", "a b")), [],
        r"holds augmented, original, and each of them the folders a, b\..*--source.layout inner.*"
        r"--source data/augmented.*--source.layout classes",
    ),
    "raw and processed": (
        photos(*under("raw", "a b"), *under("processed", "a b")), [], "holds processed, raw, and each of them",
    ),
    "the same folders in each": (
        photos(*under("male", "happy sad"), *under("female", "happy sad")), [], "holds female, male, and each of them",
    ),
    "versions in a folder with a space": (
        photos(*under("plant set/color", "a b"), *under("plant set/grayscale", "a b")), [],
        "holds color, grayscale, and each of them.*--source 'data/plant set/color' takes one part",
    ),
    "folds that are divided each": (
        photos(*(f"fold{n}/{split}/{name}" for n in (1, 2) for split in ("train", "test") for name in ("a", "b"))), [],
        "holds fold1, fold2, each with splits that hold folders themselves: .*--source data/fold1.*layout classes",
    ),
    "train and a table": (
        photos("train", "test"), ["train.csv", "sample_submission.csv"],
        r"data/train lie in no class folders; if a table holds the labels: --source data/train.csv\. If "
        "their names are the classes: --source.layout names",
    ),
    "train_images and a table": (photos("train_images"), ["train.csv"], "--source data/train.csv"),
    "camera names": (
        photos("train:IMG_", "train:DSC_", "test"), [], "data/train lie in no class folders.*--source.layout names",
    ),
    "a flat folder with classes in its names": (
        photos(":cat_", ":dog_"), [],
        "are directly in it.*the photos' names seem to be classes .cat, dog.: --source.layout names",
    ),
    "another test beside the splits": (
        photos(*under("Training", "a b"), *under("Test", "a b"), "test-multiple_fruits"), [],
        "holds Test, Training and beside them test-multiple_fruits: .*--source.layout splits.*--source.layout classes",
    ),
    "two folders for train": (
        photos(*under("train1", "a b"), *under("train2", "a b"), *under("test", "a b")), [],
        "two folders for train, train1, train2: .*--source.layout splits",
    ),
    "two folders for train and nothing else": (
        photos(*under("train1", "a b"), *under("train2", "a b")), [], "two folders for train, train1, train2: ",
    ),
    "no train": (photos(*under("val", "a b"), *under("test", "a b")), [], "holds test, val only: .*needs train"),
    "train and test that may be classes": (photos("train", "test"), [], "--source.layout classes"),
    "two folders for test beside train": (
        photos(*under("rps", "a b"), *under("rps-test", "a b"), *under("rps-test-2", "a b")), [],
        "two folders for test, rps-test, rps-test-2: .*--source.layout splits",
    ),
    "another folder beside rps and its test": (
        photos(*under("rps", "a b"), *under("rps-test", "a b"), *under("old", "a b")), [],
        "holds old, rps, rps-test, and each of them the folders a, b",
    ),
    "splits in some classes only": (
        photos(*under("cat", "train val"), "dog"), [],
        "holds cat, each with .*and dog without: .*layout splits.*classes",
    ),
    "a copy with other photos": (
        [*photos("a", "b", *under("x", "a b")), "x/a/99.jpg", "b/77.jpg"], [],
        "holds a, b and x, which holds folders of the same names with other photos: .*--source data/x.*layout classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_ambiguous_layout_is_refused_with_the_option(name):
    paths, others, message = REFUSED[name]
    with pytest.raises(FolderError, match=message):
        recognise(paths, others, where="data")


@pytest.mark.parametrize(
    ("paths", "layout", "expected"),
    [
        (LAYOUTS["superclass/class"][0], "inner", {
            "cat": {"": ["animals/cat"]}, "dog": {"": ["animals/dog"]},
            "bus": {"": ["vehicles/bus"]}, "car": {"": ["vehicles/car"]},
        }),
        (LAYOUTS["cats and dogs, nested splits"][0], "classes", {
            name: {"": under(f"{name}/{name}", "cats dogs")} for name in ("training_set", "test_set")
        }),
        (LAYOUTS["class/split"][0], "classes", {
            name: {"": [f"{name}/test", f"{name}/train", f"{name}/val"]} for name in ("cat", "dog")
        }),
        (LAYOUTS["flowers with a copy in them"][0], "classes", {
            **plain("daisy rose tulip", "flowers/"),
            "flowers": {"": under("flowers/flowers", "daisy rose tulip")},
        }),
        (REFUSED["the same folders in each"][0], "inner", {
            name: {"": [f"female/{name}", f"male/{name}"]} for name in ("happy", "sad")
        }),
        (REFUSED["another test beside the splits"][0], "splits", in_splits("a b", train="Training", test="Test")),
        (REFUSED["two folders for train"][0], "splits", {
            name: {"train": [f"train1/{name}", f"train2/{name}"], "test": [f"test/{name}"]} for name in ("a", "b")
        }),
        (photos(*under("train", "a b"), "more/x"), "splits", plain("a b", "train/")),
        (REFUSED["splits in some classes only"][0], "splits", {
            "cat": {"train": ["cat/train"], "validation": ["cat/val"]}, "dog": {"": ["dog"]},
        }),
        (REFUSED["train and test that may be classes"][0], "classes", plain("train test")),
        (REFUSED["camera names"][0], "names", {"IMG": {"": ["train"]}, "DSC": {"": ["train"]}}),
        (REFUSED["a flat folder with classes in its names"][0], "names", {"cat": {"": [""]}, "dog": {"": [""]}}),
        (photos("images:Abyssinian_", "images:american_bulldog_"), "names", {
            "Abyssinian": {"": ["images"]}, "american_bulldog": {"": ["images"]},
        }),
        (photos(*under("train/animals", "cat dog"), *under("train/things", "car"), *under("test/animals", "cat dog"),
                *under("test/things", "car")), "inner", {
            "cat": {"train": ["train/animals/cat"], "test": ["test/animals/cat"]},
            "dog": {"train": ["train/animals/dog"], "test": ["test/animals/dog"]},
            "car": {"train": ["train/things/car"], "test": ["test/things/car"]},
        }),
    ],
)  # fmt: skip
def test_the_option_decides(paths, layout, expected):
    assert read(recognise(paths, layout=layout)) == expected


def test_what_is_left_out_is_reported():
    found = recognise(LAYOUTS["dogs vs cats, classes in the names"][0])
    assert found.lines[1:] == ("left out: 2 photos in test1 without labels",)
    found = recognise(LAYOUTS["intel image classification"][0])
    assert found.lines[1:] == ("left out: 2 photos in seg_pred without labels",)
    found = recognise(LAYOUTS["chest x-ray with its copy"][0])
    assert found.lines[1:] == ("left out: 12 photos in chest_xray/chest_xray, a copy of the folders beside it",)
    assert len(found.copies) == 12
    assert ("chest_xray/chest_xray/val/NORMAL/1.jpg", "chest_xray/val/NORMAL/1.jpg") in found.copies
    found = recognise([*photos("a", "b"), "cover.jpg"])
    assert found.lines[1:] == ("left out: 1 photo beside the class folders",)
    found = recognise([*photos(*under("train", "a b"), *under("test", "a b")), "train/cover.jpg"])
    assert found.lines[1:] == ("left out: 1 photo beside the class folders in train",)
    found = recognise(REFUSED["another test beside the splits"][0], layout="splits")
    assert found.lines[1:] == ("left out: 2 photos in test-multiple_fruits",)
    found = recognise([*photos("train:cat.", "train:dog."), "train/cover.jpg"], layout="names", where="data")
    assert found.lines[1:] == ("left out: 1 photo in data whose names have no number",)


def test_an_explicit_splits_layout_needs_split_folders():
    with pytest.raises(FolderError, match="holds no folders that are named as splits"):
        recognise(photos("a", "b"), layout="splits")


def test_empty_class_folders_are_an_error_but_for_a_split_beside_train():
    with pytest.raises(FolderError, match="the class folder data/b holds no photos"):
        recognise(photos("a"), folders=["a", "b"], where="data")
    with pytest.raises(FolderError, match="the class folder data/train/c holds no photos"):
        recognise(photos(*under("train", "a b"), *under("val", "a b")), folders=["train/c"], where="data")
    paths = photos(*under("train", "a b"), "val/a")
    assert recognise(paths, folders=["val/b", "empty"]).photos == recognise(paths).photos


def test_a_very_deep_folder_is_read():
    deep = "/".join(["x"] * 1500)
    assert read(recognise([f"a/{deep}/1.jpg", "b/1.jpg"])) == {"a": {"": [f"a/{deep}"]}, "b": {"": ["b"]}}


names = st.one_of(
    st.sampled_from(
        [
            "train",
            "Training",
            "test",
            "test1",
            "val",
            "dev",
            "eval",
            "seg_train",
            "unknown",
            "a",
            "b",
            "car test",
            "plane_val",
        ]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
)


@given(st.sets(names, min_size=1, max_size=6), st.integers(1, 3))
def test_a_set_of_plain_class_folders_is_never_taken_for_splits(classes, count):
    classes = {unicodedata.normalize("NFC", name) for name in classes if name not in (".", "..")} | {"car", "plane"}
    found = recognise([f"{name}/{number}.jpg" for name in classes for number in range(count)])
    assert {(path.split("/")[0], split) for path, _, split in found.photos} == {(name, "") for name in classes}
    assert all(path.startswith(f"{class_}/") for path, class_, _ in found.photos)
    assert len(found.photos) == count * len(classes)
    assert found.lines == ("layout: one folder per class",)


paths_of_any_kind = st.lists(
    st.lists(names, min_size=1, max_size=4).map(lambda parts: "/".join([*parts, "1.jpg"])), max_size=12, unique=True
)


@given(paths_of_any_kind, st.sampled_from(["auto", "classes", "splits", "inner", "names"]), st.randoms())
def test_the_order_of_the_files_does_not_matter_and_no_photo_has_two_classes(paths, layout, random):
    def outcome(order):
        try:
            return recognise(order, layout=layout)
        except FolderError as error:
            return str(error)

    shuffled = list(paths)
    random.shuffle(shuffled)
    first = outcome(paths)
    assert outcome(shuffled) == first
    if not isinstance(first, str):
        listed = [path for path, _, _ in first.photos]
        assert len(set(listed)) == len(listed)
        assert set(listed) <= set(paths)
        assert len({class_ for _, class_, _ in first.photos}) >= 2

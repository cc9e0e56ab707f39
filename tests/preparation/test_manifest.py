import csv
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset, ManifestError, Photo, natural

ROW = Photo("train/tree/tree0001.jpg", "tree", "train", "ab" * 32, 640, 480, 3, "Trees/IMG, 1.jpg")

names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20)
names = names.filter(lambda name: name not in (".", ".."))
photos = st.builds(
    lambda name, class_, split, width, height, group, original: Photo(
        f"{split}/{class_}/{name}.jpg", class_, split, "0" * 64, width, height, group, original
    ),
    names,
    names,
    st.sampled_from(manifest.SPLITS),
    st.integers(1),
    st.integers(1),
    st.integers(0),
    names,
)


@settings(max_examples=50)
@given(st.lists(photos, min_size=1, max_size=8))
def test_a_written_manifest_is_read_back(tmp_path_factory, rows):
    dataset = Dataset(tmp_path_factory.mktemp("data"), tuple(rows))
    path = manifest.write(dataset)
    read = manifest.read(dataset.folder)
    assert read == dataset
    assert read.digest == dataset.digest
    assert [file.name for file in path.parent.iterdir()] == ["manifest.csv"]


def test_the_columns_are_the_contract(tmp_path):
    path = manifest.write(Dataset(tmp_path, (ROW,)))
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "class", "split", "sha256", "width", "height", "group", "original name"],
            ["train/tree/tree0001.jpg", "tree", "train", "ab" * 32, "640", "480", "3", "Trees/IMG, 1.jpg"],
        ]


def test_classes_are_in_natural_order_and_splits_in_the_manifests():
    rows = [
        Photo(f"{n}", n, split, "", 1, 1, 0) for n in ("pose10", "Tree", "pose2", "cobra") for split in manifest.SPLITS
    ]
    dataset = Dataset(manifest.Path(), tuple(rows))
    assert dataset.classes == ("cobra", "pose2", "pose10", "Tree")
    assert [photo.path for photo in dataset.split("test")] == ["pose10", "Tree", "pose2", "cobra"]


def test_classes_that_differ_in_case_alone_have_one_order():
    for order in (("Tree", "tree"), ("tree", "Tree")):
        rows = tuple(Photo(name, name, "train", "", 1, 1, 0) for name in order)
        assert Dataset(manifest.Path(), rows).classes == ("Tree", "tree")


@given(st.lists(st.text(max_size=12)))
def test_natural_order_takes_any_name(texts):
    texts.sort(key=natural)
    assert [natural(text) for text in texts] == sorted(natural(text) for text in texts)


def test_natural_order_counts():
    assert sorted(["b", "a10", "A9", "²", "a", "a9b"], key=natural) == ["a", "A9", "a9b", "a10", "b", "²"]


def test_the_digest_names_the_rows_and_not_the_folder(tmp_path):
    one = Dataset(tmp_path, (ROW,))
    assert one.digest == Dataset(tmp_path / "other", (ROW,)).digest
    assert one.digest != Dataset(tmp_path, (ROW, ROW)).digest


def test_a_manifest_without_original_names_is_read_and_has_the_same_digest(tmp_path):
    dataset = Dataset(tmp_path, (ROW,))
    digest = hashlib.sha256(f"{GOOD}{ROW.path},tree,train,{ROW.sha256},640,480,3\n".encode()).hexdigest()
    assert dataset.digest == digest
    (tmp_path / "manifest.csv").write_text(f"{GOOD}{ROW.path},tree,train,{ROW.sha256},640,480,3\n")
    old = manifest.read(tmp_path)
    assert old.photos == (replace(ROW, original_name=""),) and old.digest == digest


def test_a_missing_dataset_names_the_command(tmp_path):
    with pytest.raises(
        ManifestError, match=r"no prepared data at .*poses: run `python -m headstand explore PHOTOS --name poses`"
    ):
        manifest.read(tmp_path / "poses")


GOOD = "path,class,split,sha256,width,height,group\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns None"),
        ("path,class\na,b\n", r"has the columns \['path', 'class'\]"),
        (GOOD, "has no photos"),
        (GOOD + "a,b,train,0,wide,1,1\n", "is damaged"),
        (GOOD + "a,b,train,0,1\n", "is damaged"),
        (GOOD + "a,b,exam,0,1,1,1\n", r"unknown splits \['exam'\]"),
        (GOOD + "a,b,train,0,1,1,1,more\n", "is damaged"),
        (GOOD + "a,b,train,0,1,1,1\0\n", "is damaged"),
        (GOOD.replace("group", "group,original name") + "train/b/a,b,train,0,1,1,1\n", "is damaged"),
        ("\xff\xfe", "is damaged"),
    ],
)
def test_a_damaged_manifest_is_reported(tmp_path, text, message):
    (tmp_path / "manifest.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=message):
        manifest.read(tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd"])
def test_paths_that_lead_out_of_the_dataset_are_refused(tmp_path, path):
    (tmp_path / "manifest.csv").write_text(f"{GOOD}{path},b,train,0,1,1,1\n")
    with pytest.raises(ManifestError, match="is outside of"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("changes", [{"class_": "cobra"}, {"split": "test"}, {"path": "tree0001.jpg"}])
def test_a_label_that_is_not_the_files_folder_is_refused(tmp_path, changes):
    mixed = replace(ROW, **changes)
    with pytest.raises(ManifestError, match="which does not match its folder: the preparation has mixed them up"):
        manifest.write(Dataset(tmp_path, (ROW, mixed)))
    assert not list(tmp_path.iterdir())
    path = manifest.write(Dataset(tmp_path, (ROW,)))
    text = path.read_text()
    line = f"{mixed.path},{mixed.class_},{mixed.split},{ROW.sha256},640,480,3,\n"
    path.write_text(text + line)
    with pytest.raises(
        ManifestError, match=r"which does not match its folder: run `python -m headstand explore PHOTOS --name"
    ):
        manifest.read(tmp_path)


@given(st.permutations(range(6)))
def test_rows_in_any_order_are_taken_and_labels_in_another_are_not(tmp_path_factory, order):
    """Shuffling the rows is harmless; shuffling the labels without their files is seen."""
    classes = [("cobra", "tree", "chair")[index % 3] for index in range(6)]
    rows = [Photo(f"train/{name}/{index}.jpg", name, "train", "", 1, 1, 0) for index, name in enumerate(classes)]
    folder = tmp_path_factory.mktemp("data")
    manifest.write(Dataset(folder, tuple(rows[index] for index in order)))
    labels = [classes[index] for index in order]
    mixed = Dataset(folder, tuple(replace(row, class_=label) for row, label in zip(rows, labels, strict=True)))
    if labels == classes:
        manifest.write(mixed)
    else:
        with pytest.raises(ManifestError):
            manifest.write(mixed)

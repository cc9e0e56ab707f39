import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.prepare import manifest
from headstand.prepare.manifest import Dataset, ManifestError, Photo, natural

ROW = Photo("train/tree/tree0001.jpg", "tree", "train", "ab" * 32, 640, 480, 3)

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
paths = names.map(lambda name: "train/" + name.replace("/", "_") + ".jpg")
photos = st.builds(
    Photo,
    paths,
    names,
    st.sampled_from(manifest.SPLITS),
    st.just("0" * 64),
    st.integers(1),
    st.integers(1),
    st.integers(0),
)


@given(st.lists(photos, min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path_factory, rows):
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
            ["path", "class", "split", "sha256", "width", "height", "group"],
            ["train/tree/tree0001.jpg", "tree", "train", "ab" * 32, "640", "480", "3"],
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


def test_a_missing_dataset_names_the_command(tmp_path):
    with pytest.raises(ManifestError, match=r"no prepared data at .*poses: run `python data_preparation.py poses`"):
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
        ("\xff\xfe", "is damaged"),
    ],
)
def test_a_damaged_manifest_is_told(tmp_path, text, message):
    (tmp_path / "manifest.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=message):
        manifest.read(tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd"])
def test_paths_that_lead_out_of_the_dataset_are_refused(tmp_path, path):
    (tmp_path / "manifest.csv").write_text(f"{GOOD}{path},b,train,0,1,1,1\n")
    with pytest.raises(ManifestError, match="leads out of"):
        manifest.read(tmp_path)

from pathlib import Path

import pytest

from headstand.prepare.listing import Item
from headstand.prepare.sources.table import TableError, listing
from headstand.recipe import RecipeError, Source


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a/2.jpg", "a/10.jpg", "b 1/ü.png", "../beside/c.jpg"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.resolve().write_bytes(b"x")
    return tmp_path / "set"


def listed(folder, text, name="labels.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return listing(Source(kind="table", table=str(folder / name)), 1)


def test_lists_photos_in_natural_order_below_the_tables_folder(folder):
    found = listed(folder, 'path,label\na/10.jpg,tree\n"b 1/ü.png",Cobra\na/2.jpg,tree\n')
    assert found.root == folder
    assert found.classes == ("Cobra", "tree")
    assert found.items == (
        Item("Cobra", folder / "b 1" / "ü.png"),
        Item("tree", folder / "a" / "2.jpg"),
        Item("tree", folder / "a" / "10.jpg"),
    )


def test_splits_by_all_their_names_and_none(folder):
    rows = ["a/2.jpg,x,train", "a/10.jpg,y,VAL", "b 1/ü.png,x,", "a/3.jpg,y,testing"]
    found = listed(folder, "\n".join(["path,label,split", *rows]))
    assert {item.path.name: item.split for item in found.items} == {
        "2.jpg": "train", "10.jpg": "validation", "ü.png": "", "3.jpg": "test",
    }  # fmt: skip


def test_spreadsheets_marks_line_ends_spaces_and_other_columns_do_no_harm(folder):
    text = "id, label ,path\r\n7, tree ,a/2.jpg\r\n8,cobra, ./a//10.jpg\r\n"
    found = listed(folder, text, encoding="utf-8-sig")
    assert [(item.class_, item.path) for item in found.items] == [
        ("cobra", folder / "a" / "10.jpg"), ("tree", folder / "a" / "2.jpg"),
    ]  # fmt: skip


def test_photos_may_lie_elsewhere(folder):
    outside = folder.parent / "beside" / "c.jpg"
    found = listed(folder, f"path,label\na/2.jpg,x\n../beside/c.jpg,y\n{folder}/a/10.jpg,y\n")
    assert found.root == folder.parent
    assert [item.path for item in found.items] == [folder / "a/2.jpg", outside, folder / "a/10.jpg"]


def test_the_table_is_found_under_headstand_data(folder, monkeypatch):
    monkeypatch.setenv("HEADSTAND_DATA", str(folder))
    (folder / "t.csv").write_text("path,label\na/2.jpg,x\na/10.jpg,y\n")
    assert len(listing(Source(kind="table", table="t.csv"), 1).items) == 2
    with pytest.raises(RecipeError, match=r"there is no other\.csv"):
        listing(Source(kind="table", table="other.csv"), 1)


def test_a_photo_named_twice_alike_counts_once(folder):
    found = listed(folder, "path,label\na/2.jpg,x\na/10.jpg,y\n./a/2.jpg,x\n")
    assert len(found.items) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv has no column path and no column label but none: its first line must read path,label"),
        ("file,label\na/2.jpg,x\n", "has no column path but file, label: its first line must read path,label"),
        ("path;label\na/2.jpg;x\n", "has no column path and no column label but path;label"),
        ("path,label,label\na/2.jpg,x,y\n", "names a column twice: path, label, label"),
        ("path,label\n", "has no rows below its column names"),
        ("path,label\na/2.jpg\n", r"line 2: it has not as many fields as there are columns \(path, label\)"),
        ("path,label\na/2.jpg,x,y\n", "line 2: it has not as many fields"),
        ("path,label\na/10.jpg,y\na/2.jpg,\n", r"line 3: 'a/2\.jpg' has no label"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,label,split\na/2.jpg,x,holdout\n", "line 2: 'holdout' is no split; there are train, validation"),
        (
            "path,label\na/2.jpg,x\na/10.jpg,y\n./a/2.jpg,y\n",
            r"gives './a/2\.jpg' two labels, 'x' in line 2 and 'y' in line 4: remove one",
        ),
        (
            "path,label,split\na/2.jpg,x,train\na/10.jpg,y,test\na/2.jpg,x,\n",
            r"gives 'a/2\.jpg' two splits, 'train' in line 2 and 'none' in line 4: remove one",
        ),
        (
            "path,label\ngone/2.jpg,x\n2.jpg,y\n",
            r"no file that .* names exists, .*gone/2\.jpg for one: its paths are rel",
        ),
        ("path,label\na/2.jpg,x\na/10.jpg,x\n", "has the label 'x' only: a classifier needs two or more"),
        ('path,label\na/2.jpg,"x\n', "cannot be read as a CSV file in UTF-8"),
    ],
)
def test_a_wrong_table_is_told(folder, text, message):
    with pytest.raises(TableError, match=message) as raised:
        listed(folder, text)
    assert "\n" not in str(raised.value)


def test_what_is_no_text_is_told(folder):
    with pytest.raises(TableError, match="cannot be read as a CSV file in UTF-8"):
        listed(folder, "path,label\na/é.jpg,x\n", encoding="latin-1")
    with pytest.raises(TableError, match="cannot be read as a CSV file"):
        listing(Source(kind="table", table=str(folder)), 1)

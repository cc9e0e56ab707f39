from pathlib import Path

import pytest

from headstand.preparation.listing import Item
from headstand.preparation.sources.table import TableError, listing
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


def test_byte_order_marks_line_ends_spaces_and_other_columns_are_accepted(folder):
    text = "id, label ,path\r\n7, tree ,a/2.jpg\r\n8,cobra, ./a//10.jpg\r\n"
    found = listed(folder, text, encoding="utf-8-sig")
    assert [(item.class_, item.path) for item in found.items] == [
        ("cobra", folder / "a" / "10.jpg"), ("tree", folder / "a" / "2.jpg"),
    ]  # fmt: skip


def test_photos_may_be_in_another_folder(folder):
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


def test_a_photo_listed_twice_with_one_label_counts_once(folder):
    found = listed(folder, "path,label\na/2.jpg,x\na/10.jpg,y\n./a/2.jpg,x\n")
    assert len(found.items) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv has no column path and no column label but none: its first line must read path,label"),
        ("where,label\na/2.jpg,x\n", "has no column path but where, label: its first line must read path,label"),
        ("path:label\na/2.jpg:x\n", "has no column path and no column label but path:label"),
        ("path,label,label\na/2.jpg,x,y\n", "names a column twice: path, label, label"),
        ("path,label\n", "has no rows below its column names"),
        ("path,label\na/2.jpg\n", r"line 2: it has 1 fields, not as many as there are columns \(path, label\)"),
        ("path,label\na/2.jpg,x,y\n", "line 2: it has 3 fields, not as many .* a name that contains ',' needs quotes"),
        ("path,label\na/10.jpg,y\na/2.jpg,\n", r"line 3: 'a/2\.jpg' has no label"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,label\nhttps://x.org/1.jpg,x\n", "addresses are not downloaded: fetch the photos first"),
        ("path,label,split\na/2.jpg,x,fold1\n", "line 2: 'fold1' is no split; there are train, validation"),
        (
            "path,label\na/2.jpg,x\na/10.jpg,y\n./a/2.jpg,y\n",
            r"gives './a/2\.jpg' two labels, 'x' in line 2 and 'y' in line 4: remove one",
        ),
        (
            "path,label,split\na/2.jpg,x,train\na/10.jpg,y,test\na/2.jpg,x,\n",
            r"gives 'a/2\.jpg' two splits, 'train' in line 2 and 'none' in line 4: remove one",
        ),
        (
            "path,label\ngone/2.jpg,x\nlost.jpg,y\n",
            r"no file that .* names exists, .*gone/2\.jpg for one: its paths are relative to .*, where a/10\.jpg lies",
        ),
        ("path,label\na/2.jpg,x\na/10.jpg,x\n", "has the label 'x' only: a classifier needs two or more"),
        ('path,label\na/2.jpg,"x\n', "cannot be read as a CSV file in UTF-8"),
    ],
)
def test_an_invalid_table_is_reported(folder, text, message):
    with pytest.raises(TableError, match=message) as raised:
        listed(folder, text)
    assert "\n" not in str(raised.value)


def test_a_table_that_is_not_text_is_reported(folder):
    with pytest.raises(TableError, match="cannot be read as a CSV file in UTF-8"):
        listed(folder, "path,label\na/é.jpg,x\n", encoding="latin-1")
    with pytest.raises(TableError, match="cannot be read as a CSV file"):
        listing(Source(kind="table", table=str(folder)), 1)


READABLE = {
    "semicolons": "path;label\na/2.jpg;x\nb 1/ü.png;y\n",
    "tabs": "path\tlabel\na/2.jpg\tx\nb 1/ü.png\ty\n",
    "Excel's first line": "sep=;\r\npath;label\r\na/2.jpg;x\r\nb 1/ü.png;y\r\n",
    "headers in capitals": "Path,LABEL\na/2.jpg,x\nb 1/ü.png,y\n",
    "other headers": "Class,Filename\nx,a/2.jpg\ny,b 1/ü.png\n",
    "ids": "id,class\n2,x\nü,y\n",
    "empty last columns": "path,label,,\na/2.jpg,x,,\nb 1/ü.png,y,,\n",
    "more empty fields than columns": "path,label\na/2.jpg,x,,\nb 1/ü.png,y,\n",
    "fewer fields than columns": "path,label,split,note\na/2.jpg,x\nb 1/ü.png,y,,\n",
    "empty rows": "path,label\n,\na/2.jpg,x\n\n,,\nb 1/ü.png,y\n,\n",
    "quotes": '"path","label"\n"a/2.jpg", "x"\n"b 1/ü.png","y"\n',
    "backslashes": "path,label\na\\2.jpg,x\nb 1\\ü.png,y\n",
    "a dot and backslashes": "path,label\n.\\a\\2.jpg,x\n.\\b 1\\ü.png,y\n",
    "no extensions": "path,label\na/2,x\nb 1/ü,y\n",
    "extensions in capitals": "path,label\na/2.JPG,x\nb 1/ü.Png,y\n",
    "folders in capitals": "path,label\nA/2.jpg,x\nB 1/Ü.png,y\n",
    "another form of Unicode": "path,label\na/2.jpg,x\nb 1/u\u0308.png,y\n",
    "paths of another machine": "path,label\n/kaggle/input/set/a/2.jpg,x\n/kaggle/input/set/b 1/ü.png,y\n",
    "paths of Windows": "path,label\nC:\\Users\\me\\a\\2.jpg,x\nC:\\Users\\me\\b 1\\ü.png,y\n",
    "a prefix": "path,label\nset/a/2.jpg,x\nset/b 1/ü.png,y\n",
    "names without folders": "path,label\n2.jpg,x\nü.png,y\n",
    "ids without folders": "path,label\n2,x\nü,y\n",
    "addresses in S3": "path,label\ns3://bucket/set/a/2.jpg,x\ns3://bucket/set/b 1/ü.png,y\n",
}


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unambiguous_tables_are_read(folder, name, encoding):
    found = listed(folder, READABLE[name], encoding=encoding)
    assert found.items == (Item("x", folder / "a/2.jpg"), Item("y", folder / "b 1/ü.png"))


def test_a_missing_photo_is_not_mistaken_for_one_of_the_same_name(folder):
    """As soon as one path exists as it stands, the others are not searched elsewhere."""
    found = listed(folder, "path,label\na/2.jpg,x\na/10.jpg,y\nother/ü.png,y\n2,y\n")
    assert {item.path.relative_to(folder).as_posix() for item in found.items} == {
        "a/2.jpg", "a/10.jpg", "other/ü.png", "2",
    }  # fmt: skip
    with pytest.raises(TableError, match=r"no file that .* names exists"):
        listed(folder, "path,label\ntrain/2.jpg,x\nvalid/10.jpg,y\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na/2,x\na/10,y\n", r"'a/2' can be a/2\.jpg or a/2\.png: state the path with its extension"),
        ("path,label\n10,x\n2,y\n", r"'10' can be a/10\.jpg or b 1/10\.jpg: state the path"),
    ],
)
def test_a_name_that_fits_several_files_is_refused(folder, text, message):
    for name in ("a/2.png", "b 1/10.jpg"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(TableError, match=message):
        listed(folder, text)


def test_a_path_that_is_too_long_for_the_file_system_is_a_missing_file(folder):
    found = listed(folder, f"path,label\na/2.jpg,x\n{'long' * 99}.jpg,y\n")
    assert [item.class_ for item in found.items] == ["x", "y"]


def test_labels_are_compared_in_one_form_of_unicode(folder):
    found = listed(folder, "path,label\na/2.jpg,Cafe\u0301\na/10.jpg,Caf\u00e9\nb 1/ü.png,Tea\n")
    assert found.classes == ("Caf\u00e9", "Tea")

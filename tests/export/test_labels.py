from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.errors import HeadstandError
from headstand.export import labels

EXPECTED = ("tree pose", "Ñandú", "warrior")


@pytest.mark.parametrize(
    "text",
    [
        "tree pose\nÑandú\nwarrior\n",
        "\ufefftree pose\r\n  Ñandú \r\nwarrior",
        "0 tree pose\n1 Ñandú\n2 warrior\n",  # as Teachable Machine writes them
        "0  tree pose\r\n1\tÑandú\r\n2 warrior",
        '["tree pose", "Ñandú", "warrior"]',
        '{"0": "tree pose", "2": "warrior", "1": "Ñandú"}',
        '{"warrior": 2, "Ñandú": 1, "tree pose": 0}',
        '{"0": ["n01", "tree pose"], "1": ["n02", "Ñandú"], "2": ["n03", "warrior"]}',
    ],
)
def test_lines_and_the_usual_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(text.encode())
    assert labels.read(path) == EXPECTED


@pytest.mark.parametrize("text", ["1 tree\n2 oak\n", "0 tree\noak\n", "0 tree\n2 oak\n", "0\n1\n", "0tree\n1oak\n"])
def test_numbers_that_are_not_the_index_of_their_line_are_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    assert labels.read(path) == tuple(text.split("\n")[:2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs two labels or more, not 0"),
        ("cat\n", "needs two labels or more, not 1"),
        ("cat\n\ndog\n", "label 2 is empty"),
        ("cat\ndog\ncat\n", "labels 1 and 3 are both 'cat'"),
        ("cafe\u0301\ncaf\u00e9\n", "labels 1 and 2 are both"),
        ("cat\nd\x1b[31mog\n", r"label 2, 'd\\x1b\[31mog', is not one line"),
        ("cat\n" + "x" * 201, "is not one line of at most 200"),
        ('["cat", "dog"', "are not JSON"),
        ('["cat", 7]', "neither a list of texts nor texts with their indices"),
        ('{"0": "cat", "2": "dog"}', "not numbered from 0 to 1"),
        ('{"cat": 1, "dog": 1}', "not numbered from 0 to 0"),
        ('{"0": "cat", "0": "dog"}', "contain an index or a label twice"),
        ("[" * 100_000, "are not JSON"),
    ],
)
def test_an_invalid_list_of_labels_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HeadstandError, match=reason) as excinfo:
        labels.read(path)
    assert "labels.txt" in str(excinfo.value)


def test_files_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    with pytest.raises(HeadstandError, match="cannot be read: No such file"):
        labels.read(path)
    with pytest.raises(HeadstandError, match="cannot be read: Is a directory"):
        labels.read(tmp_path)
    path.write_bytes(b"\xff\xfe\x00cat")
    with pytest.raises(HeadstandError, match="not UTF-8 text"):
        labels.read(path)
    path.write_bytes(b"cat\n" * 2_000_000)
    with pytest.raises(HeadstandError, match="8,000,000 bytes; the limit is 4,194,304"):
        labels.read(path)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_labels_or_a_printable_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        found = labels.read(path)
    except HeadstandError as error:
        assert str(error).isprintable()
    else:
        assert len(set(found)) == len(found) >= 2

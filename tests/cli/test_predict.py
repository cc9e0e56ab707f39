import csv
import io
import json
from pathlib import Path

import pytest

from headstand import __main__
from headstand.errors import HeadstandError
from tests import tiny


@pytest.fixture
def model(workplace: Path) -> str:
    for name, colour in {"a/red.png": (200, 100, 0), "a/b/blue.png": (0, 0, 250)}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(tiny.photo(colour))
    Path("a/notes.txt").write_text("text")
    return str(tiny.bundle(Path("tiny.tflite")))


def test_a_line_for_each_image_of_a_folder(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    __main__.main(["predict", model, "a"])
    blue, red = capsys.readouterr().out.splitlines()
    assert blue.startswith("a/b/blue.png  blue 0.") and red.startswith("a/red.png  red 0.")
    assert red.count(",") == 2


def test_a_table_and_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    __main__.main(["predict", model, "a/red.png", "--csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["known"] == ""
    expected = tiny.expected((200, 100, 0))
    assert (row["image"], row["class"], row["confident"], row["error"]) == ("a/red.png", "red", "true", "")
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=1e-6)
    __main__.main(["predict", model, "a/red.png", "--json"])
    line = json.loads(capsys.readouterr().out)
    assert line["image"] == "a/red.png" and line["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_unknown_inputs_are_reported(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny.known_bundle(workplace / "known.tflite"))
    for name, colour in {"dark.png": (20, 30, 40), "red.png": (200, 100, 0)}.items():
        Path(name).write_bytes(tiny.photo(colour))
    __main__.main(["predict", model, "dark.png", "red.png"])
    dark, red = capsys.readouterr().out.splitlines()
    assert "unlike the training photos" in dark and "unlike" not in red
    __main__.main(["predict", model, "dark.png", "red.png", "--csv"])
    assert [row["known"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["false", "true"]
    __main__.main(["predict", model, "dark.png", "red.png", "--json"])
    assert [json.loads(line)["known"] for line in capsys.readouterr().out.splitlines()] == [False, True]


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]])
def test_unusable_images_are_reported_and_the_others_predicted(
    model: str, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HeadstandError, match="2 of 3 images cannot be used"):
        __main__.main(["predict", model, "none.png", "a/notes.txt", "a/red.png", *form])
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert "none.png" in lines[0] and "notes.txt" in lines[1] and "red" in lines[2]


def test_a_folder_without_images_is_an_error(model: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(HeadstandError, match="empty is a folder without images"):
        __main__.main(["predict", model, "empty"])

import csv
from pathlib import Path

from headstand.compare.comparison_table import lines, notes, record, write
from tests.compare.results import result

RESULTS = [
    result("max pooling", "1" * 9 + "0", cached=4),
    result("plain", "1" * 5 + "0" * 5, 88.04, 12.34),
    result("plain", None, 100.0, 120.0, backbone="VGG16", trained=False, share=0.5),
    result("plain", None, None, backbone="Xception"),
]


def test_the_table_is_aligned_and_marks_what_is_not_measured() -> None:
    assert lines(RESULTS) == [
        "   backbone   px  variant      val accuracy  95 % interval   MB            ms            training",
        "-------------------------------------------------------------------------------------------------",
        "1  MobileNet  32  max pooling  0.9000        0.596 to 0.982  10.0          5.0           2.5 s c",
        "2  MobileNet  32  plain        0.5000        0.237 to 0.763  88.0          12.3          2.5 s",
        "3  VGG16      32  plain        not measured                  100.0 r       120.0 r b",
        "4  Xception   32  plain        not measured                  not measured  not measured",
    ]


def test_the_notes_explain_the_marks_that_are_there() -> None:
    found = notes(RESULTS)
    assert "3, 4: accuracy not measured: no weights" in found
    assert any(line.startswith("r: ") for line in found)
    assert any(line.startswith("c: ") for line in found)
    assert any("down to 50% of one" in line for line in found)
    assert len(notes(RESULTS[1:2])) == 2


def test_the_csv_has_a_row_for_each_and_no_guesses(tmp_path: Path) -> None:
    with write(tmp_path / "compare.csv", RESULTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["val_accuracy"] for row in rows] == ["0.9", "0.5", "not measured", "not measured"]
    assert [row["measured_with"] for row in rows] == [
        "trained weights",
        "trained weights",
        "random weights",
        "not measured",
    ]
    assert (rows[1]["megabytes"], rows[1]["milliseconds"], rows[1]["features_from_cache"]) == ("88.04", "12.34", "0")
    assert [path.name for path in tmp_path.iterdir()] == ["compare.csv"]


def test_a_record_has_the_whole_entry() -> None:
    written = record(RESULTS[2])
    assert written["val_accuracy"] is None
    assert written["entry"]["backbone"]["name"] == "VGG16"
    assert written["entry"]["head"]["inner"] == [100]

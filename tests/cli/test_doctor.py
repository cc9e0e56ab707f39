import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from headstand import __main__
from tests.commands import status
from tests.preparation.doctor.faults import encoded, healthy, photo


@pytest.fixture
def doctor(workplace, monkeypatch):
    """Returns a function that runs `python -m headstand doctor` with arguments and returns the exit status."""
    return partial(status, monkeypatch, __main__.main, "headstand", "doctor")


def test_warnings_have_exit_status_0(doctor, workplace, capsys):
    healthy(workplace / "photos")
    (workplace / "photos/tree/grey.png").write_bytes(encoded(photo("tree", 30)))
    assert doctor("photos", "--json", "out/doctor.json") == 0
    out = capsys.readouterr().out
    assert "warning wrong_extension" in out
    assert "15 usable photos in 2 classes; 0 errors, 1 warning, 0 notes" in out
    assert out.endswith("doctor.html\nout/doctor.json\n")
    assert json.loads((workplace / "out/doctor.json").read_text())["warnings"] == 1
    assert "tree/grey.png" in (workplace / "doctor.html").read_text()


def test_errors_have_exit_status_2_and_all_files_are_written(doctor, workplace, capsys):
    healthy(workplace / "photos")
    (workplace / "photos/tree/short.jpg").write_bytes(encoded(photo("tree", 31))[:1500])
    assert doctor("photos", "--html", "page.html", "--fix", "clean") == 2
    assert "error   truncated" in capsys.readouterr().out
    assert (workplace / "page.html").is_file()
    assert len(list((workplace / "clean").rglob("*.jpg"))) == 14
    assert doctor("clean") == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "there is no nowhere"),
        (["photos.csv", "--fix", "clean"], "--fix copies class folders"),
        ([], "Missing argument 'PHOTOS'. `headstand doctor --help`"),
        (["photos", "--backbone.size", "96"], "need --labels"),
        (["photos", "--fix", "photos"], "exists already"),
        (["photos", "--html", "photos/tree/0.jpg/x.html"], "cannot write"),
    ],
)
def test_invalid_arguments_are_one_line_and_exit_status_1(doctor, workplace, capsys, argv, message):
    healthy(workplace / "photos", count=3)
    assert doctor(*argv) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_the_doctor_reads_the_same_archives_and_tables_as_the_preparation(doctor, workplace, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTAND_CACHE", str(workplace / "cache"))
    healthy(workplace / "photos")
    (workplace / "photos/tree/short.jpg").write_bytes(encoded(photo("tree", 31))[:1500])
    shutil.make_archive("packed", "zip", workplace, "photos")
    rows = [f"photos/{name}/{number},{name}" for name in ("chair", "tree") for number in range(7)]
    (workplace / "labels.csv").write_text("\n".join(["id,class", *rows, "photos/tree/short,tree"]))
    for location in ("photos", "packed.zip", "labels.csv"):
        assert doctor(location, "--json", "doctor.json") == 2
        assert "14 usable photos in 2 classes; 1 error, 0 warnings, 0 notes" in capsys.readouterr().out
        found = json.loads(Path("doctor.json").read_text())
        assert [case["files"] for case in found["findings"][0]["cases"]] in (
            [["tree/short.jpg"]], [["photos/tree/short.jpg"]],
        )  # fmt: skip


def test_unicode_normalisation_merges_class_names(doctor, workplace, capsys):
    healthy(workplace / "photos", ("chair", "tree"))
    for split, name in (("train", "Cafe\u0301"), ("test", "Caf\u00e9")):
        shutil.copytree(workplace / "photos/chair", workplace / "divided" / split / name)
        shutil.copytree(workplace / "photos/tree", workplace / "divided" / split / "tree")
    doctor("divided", "--json", "doctor.json")
    assert set(json.loads(Path("doctor.json").read_text())["classes"]) == {"Caf\u00e9", "tree"}

import json
import subprocess
import sys
from pathlib import Path

import pytest

import data_preparation
from headstand.cli import train
from headstand.errors import HeadstandError
from headstand.preparation import manifest
from tests.commands import status
from tests.preparation.photos import class_folders, encoded, picture

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))


def run(monkeypatch, *argv: str) -> int:
    return status(monkeypatch, data_preparation.main, "data_preparation.py", *argv)


def test_a_fresh_process_prepares_a_folder_of_png(tmp_path):
    # In a fresh process Pillow has not loaded its plugins yet, and the first photos are PNG.
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            data = encoded(picture(number + 10 * (name == "b")), "PNG")
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(data)
    command = [sys.executable, "-W", "error", str(ROOT / "data_preparation.py"), "--source", "photos"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["class", "train", "validation", "test", "all"]
    assert done.stdout.splitlines()[3].split() == ["all", "6", "2", "2", "10"]
    assert done.stdout.splitlines()[-1] == "train it: python train.py yoga6"
    assert len(manifest.read(Path("data/yoga6")).photos) == 10
    assert sorted(path.name for path in Path("data/yoga6/explore").iterdir()) == [
        "balance.png",
        "classes.png",
        "doctor.html",
        "doctor.json",
        "gallery.png",
        "index.html",
        "means.png",
        "sizes.png",
    ]


def test_options_override_recipe_keys(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "explore", lambda folder: [])
    class_folders(tmp_path / "photos", {"a": 10, "b": 10})
    argv = ["yoga6", "--source", "photos", "--name", "mine", "--split.train", "0.8"]
    assert run(monkeypatch, *argv, "--split.validation", "0.1", "--split.test=0.1") == 0
    assert [len(manifest.read(Path("data/mine")).split(split)) for split in manifest.SPLITS] == [16, 2, 2]
    assert "data/mine: prepared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nosuch"], "error: there is no recipe 'nosuch'; existing ones: "),
        (["--source", "nowhere"], "error: there is no nowhere"),
        (["--source"], "error: --source needs a value"),
        (["--bogus", "1"], "error: No such option '--bogus'. `python data_preparation.py --help` lists"),
        (["--source", "empty"], "error: there are no class folders in empty"),
        (["--seed", "-1"], "seed = '-1'"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_1(tmp_path, monkeypatch, capsys, argv, message):
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, *argv) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert not Path("data").exists()


def test_without_network_the_error_suggests_alternatives(monkeypatch, capsys):
    from headstand.preparation.sources import kaggle

    def offline(dataset, folder, user):
        raise kaggle.KaggleError(kaggle._sentence(dataset, "network", "", user))

    monkeypatch.setattr(kaggle, "_download", offline)
    assert run(monkeypatch) == 1
    assert "suradechk/yoga-posture-cleaned" in (err := capsys.readouterr().err)
    assert "--source FOLDER" in err and "headstand demo" in err


def test_a_dataset_is_not_replaced_by_a_source_that_nobody_has_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "explore", lambda folder: [])
    class_folders(tmp_path / "my photos", {"a": 5, "b": 5})
    assert run(monkeypatch, "yoga6", "--source", "my photos") == 0
    source = tmp_path / "my photos"
    capsys.readouterr()
    assert run(monkeypatch, "yoga6") == 1
    assert capsys.readouterr().err == (
        f"error: data/yoga6 holds the photos of {source}, and the recipe names suradechk/yoga-posture-cleaned: "
        f"--source '{source}' prepares those again, --source.kind kaggle replaces them, --name NAME keeps both\n"
    )
    assert manifest.preparing(Path("data/yoga6")) == f"python data_preparation.py yoga6 --source '{source}'"
    assert run(monkeypatch, "yoga6", "--source", str(source)) == 0
    assert "unchanged since it was prepared" in capsys.readouterr().out
    with pytest.raises(HeadstandError, match="holds the photos of"):
        train.resolved("yoga6", "photos", [])


def test_the_original_name_of_a_photo_is_in_the_findings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "explore", lambda folder: [])
    class_folders(tmp_path / "photos", {"a": 5, "b": 5})
    (tmp_path / "photos" / "b" / "IMG 7.png").write_bytes(min((tmp_path / "photos" / "a").iterdir()).read_bytes())
    assert run(monkeypatch, "yoga6", "--source", "photos") == 0
    out = capsys.readouterr().out
    assert " from b/IMG 7.png" in next(line for line in out.splitlines() if "label_conflict" in line)
    assert out.splitlines()[-1].startswith("not ready: 1 error")
    findings = json.loads(Path("data/yoga6/explore/doctor.json").read_text())
    assert "b/IMG 7.png" in findings["originals"].values()
    assert " from b/IMG 7.png</figcaption>" in Path("data/yoga6/explore/doctor.html").read_text()

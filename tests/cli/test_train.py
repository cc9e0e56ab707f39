"""`headstand train`, `explore` and `init`, on photos of shapes with small networks."""

import re
import shlex
import tomllib
import zipfile
from pathlib import Path

import pytest

from headstand import __main__
from headstand.cli import train
from headstand.errors import HeadstandError
from headstand.recipe import load
from tests import photos
from tests.preparation.photos import class_folders

SMALL = ["--recipe", "small.toml"]


@pytest.fixture
def source(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos, and small.toml, a recipe that trains in seconds."""
    monkeypatch.setenv("HEADSTAND_CACHE", str(workplace / "cache"))
    class_folders(workplace / "My Photos", {"a": 20, "b": 20})
    text = photos.BACKBONE + '[source]\nfolder = "none"\n[head]\ninner = 8\nepochs = 2\n'
    Path("small.toml").write_text(text)
    return workplace / "My Photos"


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/a/My Photos", "my-photos"),
        ("/a/photos.tar.gz", "photos"),
        ("Vögel.ZIP", "vogel"),
        ("a/labels.csv", "labels"),
        ("s3://bucket/birds/", "birds"),
        ("https://example.com/cats.v2.zip?download=1", "cats-v2"),
    ],
)
def test_the_name_of_the_dataset_is_that_of_the_source(location: str, name: str) -> None:
    assert train.dataset_name(location) == name


def test_a_source_without_a_usable_name_needs_one() -> None:
    with pytest.raises(HeadstandError, match="add --name NAME"):
        train.dataset_name("/a/???")


def test_an_unknown_source_is_an_error_with_a_similar_recipe(workplace: Path) -> None:
    with pytest.raises(HeadstandError, match=r"no folder, archive or table demoo, .* \(did you mean demo\?"):
        __main__.main(["train", "demoo"])


def test_recipes_and_photos_are_told_apart(source: Path) -> None:
    assert train.resolved("demo", "photos", []).name == "demo"
    settings = train.resolved(str(source), "photos", ["--head.dropout", "0.3"])
    assert (settings.name, settings.source.folder, settings.head.dropout) == ("my-photos", str(source), 0.3)
    assert train.resolved(str(source), "photos", ["--name", "mine"]).name == "mine"
    with zipfile.ZipFile("cats.zip", "w"):
        pass
    assert train.resolved("cats.zip", "photos", []).source.folder == "cats.zip"


def test_the_command_is_complete_and_has_the_change() -> None:
    overrides = ["--head.dropout", "0.1", "--name", "a b"]
    again = train.command("train", "my photos", "small.toml", overrides, ["--head.dropout", "0.5"])
    assert shlex.split(again) == [
        "headstand", "train", "my photos", "--recipe", "small.toml", "--name", "a b", "--head.dropout", "0.5",
    ]  # fmt: skip


def test_init_writes_a_recipe_with_the_same_values(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(source), "--head.dropout", "0.3", "--finetune.epochs", "2"]
    __main__.main(["init", *argv])
    assert capsys.readouterr().out.splitlines()[-1] == "train it  headstand train my-photos.toml"
    assert load("my-photos.toml") == train.resolved(argv[0], "photos", argv[1:])
    text = Path("my-photos.toml").read_text()
    assert "# dropout rate before the logits\ndropout = 0.3\n" in text
    assert set(tomllib.loads(text)["source"]) == {"kind", "folder"}
    with pytest.raises(HeadstandError, match=r"my-photos\.toml exists already"):
        __main__.main(["init", str(source)])


def test_explore_prepares_the_photos_and_does_not_replace_others_of_the_same_name(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    __main__.main(["explore", str(source), *SMALL])
    assert capsys.readouterr().out.splitlines()[-1] == f"train it: headstand train '{source}' --recipe small.toml"
    assert Path("data/my-photos/explore/index.html").is_file()
    class_folders(Path("other/my photos"), {"a": 10, "c": 10}, first=50)
    with pytest.raises(HeadstandError, match=rf"data/my-photos holds the photos of {re.escape(str(source))}: .*--name"):
        __main__.main(["explore", "other/my photos", *SMALL])
    assert train.resolved("other/my photos", "small.toml", ["--name", "other"]).name == "other"


def test_explore_fails_for_photos_with_errors(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "explore", lambda folder: [])
    (source / "b" / "same.jpg").write_bytes(min((source / "a").iterdir()).read_bytes())
    with pytest.raises(HeadstandError, match=r"1 error would make .*doctor\.html shows where.* headstand doctor"):
        __main__.main(["explore", str(source), *SMALL])


def test_the_fastest_format_is_written_and_float32_if_that_fails_on_the_test_photos(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstand.export import exporting
    from headstand.export.parity import ParityError

    def export(path: Path, kind: str, **options: object) -> str:
        if kind == "best" and path.stem == "a":
            raise ParityError("the int8 model predicts differently from the trained one, so nothing was written: ...")
        return kind

    monkeypatch.setattr(exporting, "export", export)
    assert train.converted(Path("b.h5")) == "best"
    assert train.converted(Path("a.h5")) == "float32"
    assert capsys.readouterr().out == (
        "the int8 model predicts differently from the trained one on the test photos; float32 is written instead\n"
    )


def test_photos_become_a_model_that_is_ready_to_be_served(
    source: Path, small_networks: None, undrawn: None, eager: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from headstand.export import exporting

    monkeypatch.setattr(train, "converted", exporting.export)  # to float32, the fastest to convert
    monkeypatch.setattr(train, "explore", lambda folder: [])  # without the plots
    # One picture in two classes does not prevent training, and is reported before it and at the end.
    (source / "b" / "same.jpg").write_bytes(min((source / "a").iterdir()).read_bytes())
    __main__.main(["train", str(source), *SMALL])
    out = capsys.readouterr().out
    assert len(re.findall(r"^warning: 1 error would make .* headstand doctor .* --fix", out, re.MULTILINE)) == 2
    (model,) = Path("runs/my-photos").glob("*/*.tflite")
    assert re.search(
        r"^The model is right on \d+\.\d% of \d+ photos that it was not trained on \(95 % interval \d+\.\d% to "
        r"\d+\.\d%\)\.$", out, re.MULTILINE,
    )  # fmt: skip
    report, try_it, serve = out.splitlines()[-3:]
    assert report == f"report    {model.parent / 'report.html'}" and Path(report.split()[1]).is_file()
    assert serve == f"serve it  headstand serve {model}"
    headstand, *argv = shlex.split(try_it.removeprefix("try it "))
    assert headstand == "headstand" and Path(argv[2]).is_file()
    __main__.main(argv)
    assert capsys.readouterr().out.startswith(argv[2])

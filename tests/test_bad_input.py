"""User mistakes: they cause no traceback and no partial file, and the suggested command solves the problem."""

from pathlib import Path

import numpy as np
import pytest
import requests

import data_preparation
import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly
from headstand.errors import HeadstandError
from headstand.evaluation.metrics import evaluate
from headstand.preparation import manifest
from headstand.preparation.prepare import prepare
from headstand.preparation.sources import folder
from headstand.recipe import Recipe, RecipeError, Source, load
from headstand.report import plots
from headstand.runs import RunError, newest_checkpoint
from test import request
from tests.preparation.photos import class_folders


def test_a_cyclic_link_is_counted_and_skipped(tmp_path: Path) -> None:
    for name in ("cobra", "tree"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    (tmp_path / "tree" / "b.jpg").symlink_to("b.jpg")
    (tmp_path / "tree" / "c.jpg").symlink_to("d.jpg")
    (tmp_path / "tree" / "d.jpg").symlink_to("c.jpg")
    listing = folder.listing(Source(folder=str(tmp_path)), 1)
    assert [item.path.name for item in listing.items] == ["a.jpg", "a.jpg"]
    assert (listing.ignored, listing.links) == (0, 3)


@pytest.mark.parametrize("changed", ["photo", "manifest"])
def test_preparing_again_restores_a_modified_photo_or_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    # Training refuses a modified photo and suggests this command, so the command must repair the dataset.
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "photos", {"cobra": 5, "tree": 5})
    recipe = Recipe(name="poses", source=Source(folder=str(source)))
    assert prepare(recipe).is_new
    assert not prepare(recipe).is_new
    dataset = manifest.read(recipe.data)
    table, photo = recipe.data / "manifest.csv", recipe.data / dataset.split("test")[0].path
    before = table.read_bytes(), photo.read_bytes()
    if changed == "photo":
        photo.write_bytes(before[1][:-1] + b"x")
    else:
        table.write_bytes(b"".join(before[0].splitlines(keepends=True)[:-1]))
    assert prepare(recipe).is_new
    assert (table.read_bytes(), photo.read_bytes()) == before
    assert not prepare(recipe).is_new


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--head.inner", "9999999999"], r"head\.inner\.0 = 9999999999: Input should be less than or equal to 65536"),
        (
            ["--head.batch_size", "1" + 19 * "0"],
            r"head\.batch_size = .*: Input should be less than or equal to 1000000",
        ),
        (
            ["--finetune.epochs", "1" + 19 * "0"],
            r"finetune\.epochs = .*: Input should be less than or equal to 1000000",
        ),
        (["--split.disjoint_from", '["../x"]'], r"split\.disjoint_from\.0 = '\.\./x'"),
        (["--split.disjoint_from", '["yoga6"]'], r"split\.disjoint_from contains 'yoga6', the name of this recipe"),
    ],
)
def test_out_of_range_values_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load("yoga6", argv)


@pytest.mark.parametrize("text", ["{", "[]", "3", "{}"])
def test_the_error_names_a_damaged_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    report = Path("runs/poses/2026-01-01T000000/report.json")
    report.parent.mkdir(parents=True)
    report.write_text(text)
    with pytest.raises(RunError, match=r"runs/poses/2026-01-01T000000/report\.json is damaged"):
        newest_checkpoint()


def test_the_preparation_prints_the_training_command_for_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "my photos", {"cobra": 5, "tree": 5})
    data_preparation.main(["yoga6", "--source", "my photos", "--name", "mine"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "train it: python train.py yoga6 --name mine"


@pytest.mark.parametrize("body", [b'{"error": "x"}', b'{"tree": "high"}', b"{}", b"[1]", b"null", b"<html>"])
def test_a_response_without_probabilities_is_an_error(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    response = requests.Response()
    response.status_code, response._content = 200, body
    monkeypatch.setattr(requests.Session, "post", lambda *_, **__: response)
    with pytest.raises(HeadstandError, match="returned status 200 and no probabilities"):
        request("http://127.0.0.1:1/", {"image": ""})


def test_dollar_signs_in_a_class_name_are_not_parsed_as_mathematics(tmp_path: Path) -> None:
    # Matplotlib parses text between dollar signs as mathematics, and raises an error, after the training, if it is not.
    names = ("$_$", "warrior_$1$")
    figure = plots.confusion(evaluate(np.eye(2, dtype=np.float32), np.array([0, 1]), names), names)
    plots.save(figure, tmp_path / "confusion.png")
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())

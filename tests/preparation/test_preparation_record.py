import json
from dataclasses import replace
from pathlib import Path

import pytest

from headstand.errors import HeadstandError
from headstand.preparation import manifest, preparation_record
from headstand.preparation.geometric_matches import MatchedPair
from headstand.preparation.manifest import Dataset
from headstand.preparation.summary import Summary, counts
from headstand.recipe import Source, load
from tests.preparation.datasets import prepared

PAIRS = [MatchedPair(0, 3, 0.97, "turned by 4°"), MatchedPair(1, 2, 0.93, "mirrored, cropped")]
STATE = {"version": 2, "seed": 1, "split": {"disjoint_from": ["yoga6"]}, "disjoint_from": {"yoga6": "1234"}}
SOURCE = Source(folder="photos", layout="classes")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    result = prepared(tmp_path / "poses")
    preparation_record.write(result, SOURCE, STATE, message(result), PAIRS)
    return result


def message(dataset: Dataset) -> Summary:
    return Summary(dataset.folder, counts(dataset), left_out=[("a.jpg", "damaged")], related=3)


def test_a_written_record_is_read_back(dataset):
    assert preparation_record.kept(dataset.folder, STATE) == replace(message(dataset), is_new=False)
    assert preparation_record.pairs(dataset) == PAIRS
    assert preparation_record.summary(dataset.folder)["related"] == 3


def test_no_pairs_differ_from_pairs_that_were_not_searched(dataset):
    preparation_record.write(dataset, SOURCE, STATE, message(dataset), [])
    assert preparation_record.pairs(dataset) == []
    preparation_record.write(dataset, SOURCE, STATE, message(dataset), None)
    assert preparation_record.pairs(dataset) is None


def test_nothing_is_kept_of_another_state_or_manifest_or_of_changed_photos(dataset):
    assert preparation_record.kept(dataset.folder, STATE | {"seed": 2}) is None
    photo = dataset.folder / dataset.photos[4].path
    data = photo.read_bytes()
    photo.write_bytes(data[:-1])
    assert preparation_record.kept(dataset.folder, STATE) is None
    photo.write_bytes(data)
    assert preparation_record.kept(dataset.folder, STATE) is not None
    fewer = Dataset(dataset.folder, dataset.photos[1:])
    manifest.write(fewer)
    assert preparation_record.kept(dataset.folder, STATE) is None
    assert preparation_record.pairs(fewer) is None


PAIRLESS = ["", "[]", '{"pairs": 3}', '{"pairs": [{"first": 0}]}', '{"pairs": [[0, 3, 0.9, ""]]}', "{}"]


@pytest.mark.parametrize("text", PAIRLESS)
def test_a_damaged_record_or_an_older_one_has_no_pairs(dataset, text):
    if text.startswith("{"):
        text = json.dumps({"manifest": dataset.digest} | json.loads(text))
    Path(dataset.folder, "prepared.json").write_text(text)
    assert preparation_record.pairs(dataset) is None
    assert preparation_record.kept(dataset.folder, STATE) is None


def test_a_record_with_the_keys_of_an_earlier_version_is_read(dataset):
    path = dataset.folder / preparation_record.RECORD
    record = json.loads(path.read_text())
    old = {"near_duplicates": "twins", "in_several_splits": "straddling", "is_new": "made", "correlation": "likeness"}
    record["summary"] = {old.get(key, key): value for key, value in record["summary"].items()}
    record["pairs"] = [{old.get(key, key): value for key, value in pair.items()} for pair in record["pairs"]]
    record["state"] = {**STATE, "split": {"keep_apart": ["yoga6"]}, "apart": record["state"].pop("disjoint_from")}
    del record["state"]["disjoint_from"]
    path.write_text(json.dumps(record))
    assert preparation_record.kept(dataset.folder, STATE) == replace(message(dataset), is_new=False)
    assert preparation_record.pairs(dataset) == PAIRS
    record["pairs"] = [1]
    path.write_text(json.dumps(record))
    assert preparation_record.pairs(dataset) is None


def test_the_source_is_recorded_with_its_absolute_path_and_replaces_that_of_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    dataset = prepared(Path("data/yoga6"))
    recipe = load("yoga6")
    assert preparation_record.source(dataset.folder) is None
    assert preparation_record.with_source(recipe) == recipe
    preparation_record.write(dataset, SOURCE, STATE, message(dataset), [])
    expected = SOURCE.model_copy(update={"folder": str(tmp_path / "photos")})
    assert preparation_record.source(dataset.folder) == expected
    assert preparation_record.with_source(recipe) == recipe.model_copy(update={"source": expected})


@pytest.mark.parametrize(
    ("source", "location"),
    [
        (Source(kind="kaggle", dataset="a/b"), "a/b"),
        (Source(kind="table", table="a.csv"), "a.csv"),
        (Source(folder="s3://a/b.zip"), "s3://a/b.zip"),
        (Source(kind="rendered"), "rendered"),
    ],
)
def test_the_location_of_a_source(source, location):
    assert preparation_record.located(source).location == location


def test_options_of_source_and_split_must_be_those_of_the_dataset(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Path("data").mkdir()
    dataset.folder.rename("data/yoga6")
    settings = load("yoga6", ["--source", "photos"])
    state = {**STATE, "split": settings.split.model_dump(mode="json")}
    preparation_record.write(replace(dataset, folder=Path("data/yoga6")), settings.source, state, message(dataset), [])
    # Training uses the dataset as it is; without options that is no contradiction.
    for options in ([], ["--source", "photos"], ["--head.dropout", "0.5", "--split.validation", "0.2"]):
        preparation_record.check_options(load("yoga6", options), options)
    for options in (["--source", "."], ["--split.validation", "0.3", "--split.train", "0.5"]):
        with pytest.raises(HeadstandError, match=f"was prepared without {' '.join(options)}, which has no effect on"):
            preparation_record.check_options(load("yoga6", ["--seed", "2", *options]), ["--seed", "2", *options])

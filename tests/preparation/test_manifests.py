import csv
import json
import os
from pathlib import Path

import pytest

from headstand.__main__ import main
from headstand.errors import HeadstandError
from headstand.preparation import manifest, manifests
from headstand.preparation.sources import table
from headstand.preparation.upload import S3Location
from headstand.recipe import Source
from tests.preparation.datasets import prepared

HOURS = 1_700_000_000


@pytest.fixture(autouse=True)
def dataset(tmp_path, monkeypatch) -> manifest.Dataset:
    monkeypatch.chdir(tmp_path)
    result = prepared(Path("data/poses"), ("tree", "arbre été", "cobra"))
    os.utime("data/poses/manifest.csv", (HOURS, HOURS))
    Path("poses.toml").write_text('[source]\nkind = "folder"\nfolder = "photos"\n')
    return result


def rows(split: str) -> list[dict[str, str]]:
    with Path(f"data/poses/manifests/{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_split_has_its_photos_with_label_and_index(dataset):
    paths = manifests.write(dataset)
    assert [path.name for path in paths] == ["train.csv", "validation.csv", "test.csv"]
    for split in ("train", "validation", "test"):
        expected = [(f"../{p.path}", p.class_, str(dataset.classes.index(p.class_))) for p in dataset.split(split)]
        assert [(row["path"], row["label"], row["index"]) for row in rows(split)] == expected
        assert len(expected) == 6
        assert all((dataset.folder / "manifests" / row["path"]).is_file() for row in rows(split))
    assert {(row["label"], row["index"]) for row in rows("train")} == {
        ("arbre été", "0"),
        ("cobra", "1"),
        ("tree", "2"),
    }


def test_the_source_table_reads_them(dataset):
    manifests.write(dataset)
    found = table.listing(Source(kind="table", table="data/poses/manifests/train.csv"), 1)
    expected = {((dataset.folder / p.path).absolute(), p.class_) for p in dataset.split("train")}
    assert {(item.path, item.class_) for item in found.items} == expected


def test_with_a_prefix_addresses_and_augmented_manifests_are_written(dataset):
    paths = manifests.write(dataset, S3Location.of("s3://bucket/some/key/"))
    assert [path.name for path in paths] == [
        "train.csv", "train.jsonl", "validation.csv", "validation.jsonl", "test.csv", "test.jsonl",
    ]  # fmt: skip
    assert rows("test")[0] == {"path": "s3://bucket/some/key/test/tree/tree0005.jpg", "label": "tree", "index": "2"}
    lines = [json.loads(line) for line in Path("data/poses/manifests/test.jsonl").read_text("utf-8").splitlines()]
    assert lines[0] == {
        "source-ref": "s3://bucket/some/key/test/tree/tree0005.jpg",
        "class": 2,
        "class-metadata": {
            "class-name": "tree",
            "confidence": 1.0,
            "type": "groundtruth/image-classification",
            "job-name": "headstand/poses",
            "human-annotated": "yes",
            "creation-date": "2023-11-14T22:13:20.000000",
        },
    }
    assert [line["class-metadata"]["class-name"] for line in lines] == [p.class_ for p in dataset.split("test")]
    assert lines[2]["source-ref"] == "s3://bucket/some/key/test/arbre été/arbre été0005.jpg"


def test_the_same_dataset_gives_the_same_bytes(dataset):
    location = S3Location.of("s3://bucket")
    first = [path.read_bytes() for path in manifests.write(dataset, location)]
    assert [path.read_bytes() for path in manifests.write(dataset, location)] == first


def test_without_a_prefix_addresses_of_an_earlier_run_are_removed(dataset):
    manifests.write(dataset, S3Location.of("s3://bucket"))
    manifests.write(dataset)
    assert sorted(p.name for p in Path("data/poses/manifests").iterdir()) == ["test.csv", "train.csv", "validation.csv"]


def test_the_command_prints_the_files_it_wrote(capsys):
    main(["manifests", "poses.toml", "--prefix", "s3://bucket/key"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["data/poses/manifests/train.csv", "data/poses/manifests/train.jsonl"]
    assert len(printed) == 6
    assert rows("train")[0]["path"].startswith("s3://bucket/key/train/")
    main(["manifests", "poses.toml"])
    assert "--prefix s3://BUCKET/KEY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prefix", "https://bucket"], "'https://bucket' is not an address in S3: it should read s3://BUCKET/KEY"),
        (["--prefix"], "Option '--prefix' requires an argument"),
        (["--prefix", "s3://bucket", "--upload", "s3://bucket"], "exclude each other"),
        (["--name", "other"], "no prepared data at data/other"),
        (["--prefx", "s3://bucket"], "prefx"),
    ],
)
def test_invalid_arguments_are_reported(argv, message):
    with pytest.raises(HeadstandError, match=message):
        main(["manifests", "poses.toml", *argv])
    assert not Path("data/poses/manifests").exists()

"""Functions of the Ray backend that need no cluster."""

import pickle
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstand import scale
from headstand.features.augmentation import view_key
from headstand.features.cache import FeatureCache
from headstand.features.extractor import jobs
from headstand.heads.search.trial import SearchError, Trial
from headstand.inputs import PhotoInput
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation, Head
from headstand.recipe.search_space import Job
from headstand.scale.ray import ClusterError
from headstand.scale.ray.connection import cluster_failure
from headstand.scale.ray.forward_pass import blocks, decode
from headstand.scale.ray.shards import Shards


@pytest.mark.slow
def test_ray_and_fsspec_are_imported_only_on_request() -> None:
    code = "import sys, train\nfrom headstand import scale, training\nwith scale.backend(None) as here: pass\n"
    code += "print(here is training.LOCAL, [name for name in ('ray', 'fsspec', 's3fs') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head", "10.0.0.5", "h:99999", "h:", "a b:1"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ClusterError, match=f"--ray '{address}' is neither auto nor HOST:PORT"), scale.backend(address):
        pass


def test_unreachable_cluster_is_reported_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: it refuses connections, and nobody else can take the port
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"no Ray cluster answers at 127\.0\.0\.1:{port}"):
            with scale.backend(f"127.0.0.1:{port}"):
                pass


def test_ray_that_is_missing_is_named_with_its_category(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"--ray needs Ray.*pipenv sync --categories \"packages ray\""):
        with scale.backend("auto"):
            pass


def test_ray_error_becomes_one_line() -> None:
    assert str(cluster_failure(RuntimeError("\x1b[36mlost\x1b[39m\nat line 3"))) == (
        "the cluster failed (lost): run the same command again to continue"
    )


def test_blocks_keep_the_views_of_a_photo_together(dataset: Dataset) -> None:
    augmentation = Augmentation(views=2)
    photos = dataset.photos[:7]
    own = [bytes.fromhex(photo.sha256) for photo in photos]
    names = np.array([[np.void(view_key(digest, augmentation, 1, view)) for digest in own] for view in range(2)])
    paths = [dataset.folder / photo.path for photo in photos]
    work = jobs([index for index in range(14) if index != 3], names, paths, range(2))
    unpickled = [pickle.loads(block) for block in blocks(work, names.reshape(-1), [p.sha256 for p in photos], 4)]
    assert [len(block) for block in unpickled] == [4, 5, 4]
    entries = [entry for block in unpickled for entry in block]
    assert sorted(entry[1] for entry in entries) == [0, 1, 2, *range(4, 14)]
    for path, index, name, key, digest in entries:
        assert (path, digest) == (str(paths[index % 7]), photos[index % 7].sha256)
        assert name == key == names.reshape(-1)[index].tobytes()


def test_block_is_decoded_or_has_an_error(dataset: Dataset) -> None:
    photos = dataset.photos[:3]
    names = np.array([[np.void(bytes.fromhex(photo.sha256)) for photo in photos]])
    paths = [dataset.folder / photo.path for photo in photos]

    def decoded() -> dict[str, np.ndarray]:
        work = blocks(jobs(range(3), names, paths, (None,)), names[0], [photo.sha256 for photo in photos], 9)
        return decode({"jobs": np.array(list(work), object)}, PhotoInput(32), Augmentation())

    block = decoded()
    assert block["index"].tolist() == [0, 1, 2]
    assert [row.tobytes().hex() for row in block["key"]] == [photo.sha256 for photo in photos]
    assert (block["pixels"].shape, block["pixels"].dtype) == ((3, 32, 32, 3), np.uint8)
    assert set(block["error"]) == {""}
    paths[1].write_bytes(b"?")
    assert decoded()["error"].tolist() == [f"{paths[1]} is not the file that was prepared: prepare the data again"]
    paths[1].unlink()
    assert "all machines of the cluster must have the folder data/" in decoded()["error"][0]


def test_a_shard_that_is_written_twice_is_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys, rows = rng.integers(0, 256, (5, 32), np.uint8), rng.normal(size=(5, 6)).astype(np.float32)
    keys[2, -3:] = 0  # as one key in millions ends
    for _ in range(2):
        Shards(str(tmp_path / "features")).write(keys, rows)
        Shards((tmp_path / "elsewhere").as_uri()).write(keys, rows)
    (file,) = (tmp_path / "features").iterdir()
    assert (tmp_path / "elsewhere" / file.name).read_bytes() == file.read_bytes()
    found = np.empty((5, 6), np.float32)
    assert FeatureCache(tmp_path / "features", 6).read([key.tobytes() for key in keys], found) == []
    assert np.array_equal(found, rows)


@pytest.mark.slow  # Ray takes seconds to import
def test_a_trial_is_pruned_by_the_earlier_trials_inside_the_ranges_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstand.scale.ray import cluster_tpe

    given: dict[str, Any] = {}
    monkeypatch.setattr(cluster_tpe, "run_until_done", lambda run_pending, count_pending: run_pending(None))
    monkeypatch.setattr(cluster_tpe, "run_trials", lambda *_, **options: given.update(options))
    job = Job.model_validate({"parameters": {"learning_rate": {"low": 0.001, "high": 0.01}}, "trials": 3})
    runner: Any = SimpleNamespace(load_journal=lambda job: [], of=lambda job: [], data=SimpleNamespace(seed=1))

    def pruned(rate: float) -> bool:
        head = Head(learning_rate=rate, epochs=6)
        earlier = Trial(1, 1, {"learning_rate": rate}, head, 0.9, 0.3, 1, curve=(0.9,) * 6)
        cluster_tpe._job(2, job, Head(epochs=6), runner, [earlier])
        return bool(given["should_prune"]([{"val_accuracy": 0.1}] * 5))

    assert pruned(0.005)
    assert not pruned(0.5)


@pytest.mark.slow  # Ray takes seconds to import
def test_a_worker_that_dies_later_does_not_replace_the_error_that_ends_a_search() -> None:
    from headstand.scale.ray import search

    losses = search.Losses()
    finished = search._FinishedCallback(lambda config, result: None, losses)
    trial = SimpleNamespace(last_result={search.INVALID: "too many units"}, config={"index": 1})
    finished.on_trial_complete(1, [], trial)
    losses._times[str(trial.config)] = [0.0] * search.RETRIES
    finished.on_trial_error(1, [], trial)
    assert isinstance(finished.error, SearchError) and str(finished.error) == "too many units"

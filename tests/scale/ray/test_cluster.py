"""On a real cluster: several raylets of this machine, some of which are killed in the middle of the work."""

import csv
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headstand import recipe as recipes
from headstand import scale, training
from headstand.errors import HeadstandError
from headstand.features import Extractor
from headstand.features.cache import KEY_BYTES
from headstand.heads import FeatureSplit, search
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation, Backbone, Head, Search
from tests import photos

import keras  # isort: skip - after headstand.tensorflow_setup, which silences TensorFlow

if TYPE_CHECKING:
    from tests.scale.ray.machines import Machines

pytestmark = pytest.mark.slow

SIZE = 64
HEAD = Head(inner=(8,), epochs=6, learning_rate=0.01, batch_size=8)
GRID = Search.model_validate(
    {
        "strategy": "grid",
        "parameters": {
            "learning_rate": {"values": [0.0003, 0.003, 0.03]},
            "inner": {"values": [4, 16]},
            "dropout": {"values": [0.0, 0.3]},
        },
    }
)
TPE = Search.model_validate(
    {"strategy": "tpe", "trials": 8, "parameters": {"learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}}
)


@pytest.fixture(scope="module")
def cluster() -> "Iterator[Machines]":
    from tests.scale.ray.machines import machines  # Ray takes seconds to import

    with machines(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A real network, its kernels scaled until features are of the size of one, from a file that only we can see."""
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    network.set_weights([values * 5.5 if values.ndim == 4 else values for values in network.get_weights()])
    file = tmp_path_factory.mktemp("weights") / "scaled.weights.h5"
    network.save_weights(file)
    return Backbone(name="MobileNet", size=SIZE, weights=str(file))


@pytest.fixture
def restored_cluster(cluster: "Machines") -> "Iterator[Machines]":
    """The cluster; killed nodes are replaced afterwards."""
    yield cluster
    while len(cluster.nodes) < 2:
        cluster.nodes.append(cluster.add())


def cached(folder: Path, width: int) -> Counter[bytes]:
    """How often each key stands in a cache's files."""
    found: Counter[bytes] = Counter()
    for file in folder.glob("*.rows"):
        records = np.fromfile(file, f"V{KEY_BYTES}, ({width},)<f4, <u4")
        found.update(record[0].tobytes() for record in records)
    return found


def test_features_are_those_of_one_machine(
    cluster: "Machines", dataset: Dataset, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation = Augmentation(views=2)
    monkeypatch.setenv("HEADSTAND_CACHE", "one")
    single = Extractor(backbone)
    rows = single.rows(dataset.folder, dataset.photos).rows
    views = single.views(dataset.folder, dataset.split("train"), augmentation, 1).rows
    monkeypatch.setenv("HEADSTAND_CACHE", "many")
    with scale.backend(cluster.address) as backend:
        distributed = backend.extractor(backbone)
        found = distributed.rows(dataset.folder, dataset.photos)
        assert 0.1 < rows.std() < 10
        assert found.computed == 48
        assert np.abs(found.rows - rows).max() <= 1e-5
        assert (
            np.abs(distributed.views(dataset.folder, dataset.split("train"), augmentation, 1).rows - views).max()
            <= 1e-5
        )
        # Cached by now, for a cluster and for one machine.
        assert backend.extractor(backbone).rows(dataset.folder, dataset.photos).computed == 0
        assert Extractor(backbone).rows(dataset.folder, dataset.photos).computed == 0

        photo = dataset.folder / dataset.photos[5].path
        content = photo.read_bytes()
        monkeypatch.setenv("HEADSTAND_CACHE", "damaged")
        photo.write_bytes(content[:-20])
        with pytest.raises(HeadstandError, match=rf"{photo.name} is not the file that was prepared"):
            backend.extractor(backbone).rows(dataset.folder, dataset.photos)
        photo.write_bytes(content)
    assert not list(Path("many").rglob("*.part"))


def test_a_machine_is_killed_in_the_middle_of_extraction(
    restored_cluster: "Machines", workplace: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = photos.prepare(Path("data/shapes"), {"train": 400, "validation": 10, "test": 10})
    monkeypatch.setenv("HEADSTAND_CACHE", "one")
    rows = Extractor(backbone).rows(dataset.folder, dataset.photos).rows
    monkeypatch.setenv("HEADSTAND_CACHE", "many")
    at_kill: list[int] = []
    with scale.backend(restored_cluster.address) as backend:
        distributed = backend.extractor(backbone)

        def kill() -> None:
            while len(shards := list(distributed.folder.glob("*.rows"))) < 2:
                time.sleep(0.01)
            assert restored_cluster.kill(restored_cluster.nodes[0])
            at_kill.append(len(shards))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        found = distributed.rows(dataset.folder, dataset.photos)
        killer.join()
    shards = len(list(distributed.folder.glob("*.rows")))
    assert at_kill[0] < shards - 2
    assert found.computed == 1260
    assert np.abs(found.rows - rows).max() <= 1e-5
    assert set(cached(distributed.folder, distributed.width).values()) == {1}
    assert len(cached(distributed.folder, distributed.width)) == 1260


def task() -> dict[str, Any]:
    """Features that heads can separate, but not perfectly."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(3, 16))

    def split(count: int) -> FeatureSplit:
        labels = np.arange(count, dtype=np.int32) % 3
        return FeatureSplit((centres[labels] + rng.normal(0, 2.5, (count, 16))).astype(np.float32), labels)

    return {"train": split(120), "validation": split(60), "classes": 3, "seed": 1}


def test_a_machine_is_killed_in_the_middle_of_a_grid(restored_cluster: "Machines", workplace: Path) -> None:
    given = task()
    single = search.run(GRID, HEAD, **given, journal=Path("one.journal"))
    message: list[int] = []

    def after(trial: search.Trial, from_journal: bool) -> None:
        message.append(trial.number)
        if len(message) == 2:
            assert restored_cluster.kill(restored_cluster.nodes[0])

    with scale.backend(restored_cluster.address) as backend:
        found = backend.search(GRID, HEAD, **given, journal=Path("many.journal"), after_trial=after)
    assert sorted(message) == list(range(1, 13))
    assert [(trial.number, trial.values) for trial in found.trials] == [(t.number, t.values) for t in single.trials]
    assert [trial.val_accuracy for trial in found.trials] == [trial.val_accuracy for trial in single.trials]
    assert np.allclose([t.val_loss for t in found.trials], [t.val_loss for t in single.trials], atol=1e-4)
    assert found.head == single.head
    # On the disk it is the same search: nothing is left to be run.
    again = search.run(
        GRID, HEAD, **given, journal=Path("many.journal"), after_trial=lambda _, known: message.append(known)
    )
    assert message[12:] == [True] * 12
    assert again.head == single.head


def test_the_estimator_draws_for_all_machines_and_resumes(cluster: "Machines", workplace: Path) -> None:
    given = task()
    message: list[tuple[int, bool]] = []

    class Interrupted(Exception):
        pass

    def after(trial: search.Trial, from_journal: bool) -> None:
        message.append((trial.number, from_journal))
        if len(message) == 3:
            raise Interrupted

    with scale.backend(cluster.address) as backend:
        with pytest.raises(Interrupted):
            backend.search(TPE, HEAD, **given, journal=Path("journal"), after_trial=after)
        found = backend.search(TPE, HEAD, **given, journal=Path("journal"), after_trial=after)
    assert message[:3] == [(1, False), (2, False), (3, False)]
    assert message[3:] == [(1, True), (2, True), (3, True), *((number, False) for number in range(4, 9))]
    assert [trial.number for trial in found.trials] == list(range(1, 9))
    assert len({trial.values["learning_rate"] for trial in found.trials}) == 8
    assert all(1e-4 <= trial.values["learning_rate"] <= 0.1 for trial in found.trials)
    # The recipe's own head goes first, so that what is found is no worse.
    assert HEAD.learning_rate in {trial.values["learning_rate"] for trial in found.trials}
    finished = [trial for trial in found.trials if not trial.pruned]
    assert found.head == max(finished, key=lambda trial: trial.rank).head
    local = search.run(Search(), found.head, **given, journal=Path("local"))
    assert local.head == found.head


def test_a_whole_run(
    cluster: "Machines", dataset: Dataset, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"strategy": "grid", "parameters": {"learning_rate": {"values": [0.001, 0.02]}}}
    values = {
        "name": "shapes",
        "source": {"kind": "folder", "folder": "photos"},
        "backbone": backbone.model_dump(),
        "head": HEAD.model_dump(),
        "search": grid,
    }
    recipe = recipes.Recipe.model_validate(values)
    monkeypatch.setenv("HEADSTAND_CACHE", "one")
    single = training.train(recipe)
    monkeypatch.setenv("HEADSTAND_CACHE", "many")
    with scale.backend(cluster.address) as backend:
        distributed = training.train(recipe, backend=backend)
    assert distributed.report["head"] == single.report["head"]
    assert distributed.report["test"]["accuracy"] == single.report["test"]["accuracy"]
    with (distributed.folder / "trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    resources = json.loads((distributed.folder / "report.json").read_text())["resources"]["steps"]["features"]
    assert resources["photos"] == 48
    assert list(resources["parts"]) == ["cluster"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headstand import recipe as recipes
from headstand.compare import automatic
from headstand.compare.automatic import Candidate, select
from headstand.compare.result import ModelSize
from headstand.errors import HeadstandError
from headstand.export.latency import Latency
from headstand.heads.cross_validation import CrossValidated
from headstand.preparation.manifest import Dataset
from headstand.recipe import Backbone, Head, Recipe
from tests import networks

WANTED = networks.recipe(backbone={"name": "auto", "size": 32, "weights": "none"})


def candidate(name: str, losses: Sequence[float], parameters: int, size: ModelSize | None = None) -> Candidate:
    values = np.array(losses)
    found = CrossValidated(Head(), 5, values, values < 0.7, 0.0, 1.0)
    return Candidate(Backbone(name=name, size=32, weights="none"), found, parameters, size, "")


def limited(**limits: float) -> Recipe:
    return WANTED.model_copy(update={"compare": recipes.variants.Compare(**limits)})


@pytest.mark.parametrize(
    ("other", "selected"),
    [
        ((0.9, 0.8, 1.0, 0.9), "Xception"),  # worse than one standard error of the difference
        ((0.1, 0.9, 0.1, 0.9), "MobileNet"),  # worse, but within it, and smaller
        ((0.1, 0.2, 0.1, 0.2), "MobileNet"),
    ],
)
def test_the_smallest_of_those_that_are_as_good_as_the_best(other: Sequence[float], selected: str) -> None:
    both = [candidate("Xception", (0.4, 0.5, 0.4, 0.5), 20), candidate("MobileNet", other, 4)]
    assert automatic._selected(both, WANTED).backbone.name == selected


def test_only_those_within_the_limits_are_selected() -> None:
    large, slow = ModelSize(20_000_000, 3.0, 1.0, False), ModelSize(4_000_000, 9.0, 1.0, False)
    both = [candidate("Xception", (0.1, 0.2), 20, large), candidate("MobileNet", (0.8, 0.9), 4, slow)]
    assert automatic._selected(both, limited(under_mb=10)).backbone.name == "MobileNet"
    assert automatic._selected(both, limited(under_ms=5)).backbone.name == "Xception"
    with pytest.raises(HeadstandError, match=r"none of compare\.backbones can be used \(Xception at 32 px: above the"):
        automatic._selected(both, limited(under_ms=1))


def test_candidates_are_cross_validated_on_train_and_validation(dataset: Dataset, small_networks: None) -> None:
    lines: list[str] = []
    compare = recipes.variants.Compare(backbones=("MobileNet", "VGG16@64", "Nothing"), under_mb=0.1)
    wanted = WANTED.model_copy(update={"compare": compare})

    def clock(flatbuffers: Sequence[bytes], threads: int) -> list[Latency]:
        return [Latency(2.5, 1.0)]

    found, records = select(wanted, dataset, lines.append, clock)
    validated: list[Any] = [record["cross_validated"] for record in records]
    assert found.backbone.name in ("MobileNet", "VGG16") and found.model_copy(update={"backbone": 0}) == (
        wanted.model_copy(update={"backbone": 0})
    )
    assert [record["backbone"] for record in records] == ["MobileNet at 32 px", "VGG16 at 64 px", "Nothing at 32 px"]
    assert [each["photos"] for each in validated[:2]] == [36, 36] and validated[2] is None
    assert [record["milliseconds"] for record in records] == [2.5, 2.5, None]
    assert [record["parameters"] for record in records] == [1160, 1172, 0]  # VGG16 begins with a convolution of 12
    (chosen,) = (record for record in records if record["selected"])
    assert chosen["difference"] is None and chosen["backbone"].startswith(found.backbone.name)
    assert "Nothing" in records[2]["reason"]
    assert lines[0].startswith(f"MobileNet at 32 px: log loss {validated[0]['log_loss']:.4f}, accuracy")
    assert lines[2].startswith("Nothing at 32 px: not measured: ") and lines[3] == f"selected: {chosen['backbone']}"

import pytest

from headstand.compare.entry import ITSELF, entries
from headstand.recipe import Recipe
from tests import networks

pytestmark = pytest.mark.usefixtures("workplace")


def recipe(*variants: dict[str, object], backbones: tuple[str, ...] = ()) -> Recipe:
    return networks.recipe(variants=variants, compare={"backbones": backbones})


def test_variants_on_the_own_backbone_and_the_own_head_on_the_others() -> None:
    raced = entries(recipe({"name": "max", "backbone.pooling": "max"}, backbones=("VGG16@64", "Xception")))
    assert [(e.variant, e.backbone.name, e.backbone.size, e.backbone.pooling) for e in raced] == [
        ("max", "MobileNet", 32, "max"),
        (ITSELF, "MobileNet", 32, "avg"),
        (ITSELF, "VGG16", 64, "avg"),
        (ITSELF, "Xception", 32, "avg"),
    ]
    assert {e.head for e in raced} == {networks.recipe().head}
    assert [e.title for e in raced][:3:2] == ["MobileNet@32 (none) max", "VGG16@64 (none) as the recipe"]


def test_entries_that_come_to_the_same_are_raced_once_under_the_first_name() -> None:
    raced = entries(recipe({"name": "base"}, {"name": "eight", "head.inner": 8}, backbones=("MobileNet", "MobileNet")))
    assert [e.variant for e in raced] == ["base"]


def test_a_variant_may_have_a_backbone_of_its_own() -> None:
    raced = entries(recipe({"name": "other", "backbone": {"name": "VGG16"}, "head.dropout": 0.5}))
    assert [(e.backbone.name, e.head.dropout) for e in raced] == [("VGG16", 0.5), ("MobileNet", 0.0)]


def test_what_only_training_differs_in_has_one_architecture() -> None:
    changes = ({"head.optimizer": "sgd"}, {"head.dropout": 0.5}, {"head.inner": 9}, {"backbone.pooling": "max"})
    raced = entries(recipe(*({"name": str(number), **change} for number, change in enumerate(changes))))
    sgd, dropout, nine, pooled, base = (entry.architecture for entry in raced)
    assert sgd == dropout == base
    assert len({nine, pooled, base}) == 3

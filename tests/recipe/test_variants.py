from pathlib import Path

import pytest

from headstand.recipe import HOME, Recipe, RecipeError, load
from headstand.recipe.sections import Backbone
from headstand.recipe.variants import with_backbone

pytestmark = pytest.mark.usefixtures("workplace")

MINIMAL = '[source]\nfolder = "photos"\n[head]\ninner = 50\nlearning_rate = 0.01\n'


def write(text: str) -> str:
    Path("mine.toml").write_text(MINIMAL + text)
    return "mine.toml"


def varied(text: str, argv: list[str] | None = None) -> Recipe:
    recipe = load(write(text), argv)
    return recipe.with_variant(recipe.variants[0])


@pytest.mark.parametrize(
    "text",
    [
        '[[variants]]\nname = "a"\nbackbone.pooling = "max"\nhead.inner = [9, 8]\n',
        '[[variants]]\nname = "a"\nbackbone = { pooling = "max" }\n[variants.head]\ninner = [9, 8]\n',
        '[[variants]]\nname = "a"\n"backbone.pooling" = "max"\n"head.inner" = [9, 8]\n',
    ],
)
def test_a_variant_changes_only_its_keys(text: str) -> None:
    recipe = varied(text)
    assert (recipe.backbone.pooling, recipe.head.inner) == ("max", (9, 8))
    assert (recipe.head.learning_rate, recipe.backbone.name) == (0.01, "Xception")


def test_a_variant_overrides_command_line_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_HEAD__DROPOUT", "0.3")
    monkeypatch.setenv("HEADSTAND_HEAD__EPOCHS", "4")
    recipe = varied('[[variants]]\nname = "a"\nhead.dropout = 0.1\nhead.inner = 7\n', ["--head.inner", "200"])
    assert (recipe.head.dropout, recipe.head.inner, recipe.head.epochs) == (0.1, (7,), 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\nbackbone.pooling = "maxx"', "variant 'a': backbone.pooling = 'maxx': Input should be 'avg'"),
        ('name = "a"\nhead.dropuot = 0.1', "variant 'a': unknown key head.dropuot = 0.1; allowed there: activation,"),
        ('name = "a"\nhead.momentum = 0.9', "variant 'a': head: momentum = 0.9 does not work with optimizer = 'adam'"),
        ('name = "a"\nsource.folder = "b"', "unknown key variants.0.source = {'folder': 'b'}; allowed there: augment"),
        ('name = "a"\n"head.inner.0" = 3', "variant 'a': unknown key head.inner.0 = 3"),
        ('name = "a"\nhead = 3', "variants.0.head = 3: Input should be a valid dictionary"),
        ('name = "a"\nhead = 3\n"head.inner" = 3', "head = 3 and head.inner = 3 contradict each other"),
        ('name = ""', "variants.0.name = ''"),
        ("head.inner = 3", "variants.0.name is missing"),
        ('name = "a"\n[[variants]]\nname = "a"\nhead.inner = 3', "two variants are named 'a'"),
        (
            'name = "a"\nhead.inner = []\n[search]\nstrategy = "grid"\n[search.parameters.layers]\nvalues = [1]',
            "variant 'a': 1 inner layers have no size",
        ),
    ],
)
def test_an_invalid_variant_is_named(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as excinfo:
        load(write(f"[[variants]]\n{text}\n"))
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


OWN = Backbone(name="MobileNetV2", size=224, weights="models/own.h5", pooling="max")


@pytest.mark.parametrize(
    ("text", "name", "size", "weights"),
    [
        ("Xception", "Xception", 224, "imagenet"),
        ("Xception@150", "Xception", 150, "imagenet"),
        ("Xception@150=a=b/c.weights.h5", "Xception", 150, "a=b/c.weights.h5"),
        ("Xception=none", "Xception", 224, "none"),
        ("MobileNetV2", "MobileNetV2", 224, "models/own.h5"),
        ("MobileNetV2@96", "MobileNetV2", 96, "models/own.h5"),
        ("EfficientNetLite0", "EfficientNetLite0", 224, "imagenet"),
        ("nets/a b.keras@96", "nets/a b.keras", 96, "pretrained"),
        ("nets/a.h5=b.h5", "nets/a.h5", 224, "b.h5"),
    ],
)
def test_a_backbone_takes_defaults_from_the_recipe(text: str, name: str, size: int, weights: str) -> None:
    assert with_backbone(text, OWN) == Backbone(name=name, size=size, weights=weights, pooling="max")


def test_random_weights_are_inherited_and_a_file_is_not() -> None:
    own = OWN.model_copy(update={"weights": "none", "preprocessing": "torch"})
    assert with_backbone("VGG16", own).weights == "none"
    assert with_backbone("EfficientNetLite0", own).weights == "imagenet"
    assert (with_backbone("VGG16", own).preprocessing, with_backbone("MobileNetV2@96", own).preprocessing) == (
        "auto",
        "torch",
    )
    with pytest.raises(ValueError, match="'a b' is not NAME"):
        with_backbone("a b", OWN)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('["Xception@9"]', "compare.backbones, 'Xception@9': backbone.size = '9': .*greater than or equal to 32"),
        ('["../x"]', r"compare.backbones.0 = '\.\./x'"),
        ('["VGG16@"]', "compare.backbones.0 = 'VGG16@'"),
    ],
)
def test_an_invalid_backbone_is_named(value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(write(f"[compare]\nbackbones = {value}\n"))


def test_backbones_and_limits_on_the_command_line() -> None:
    compare = load(write(""), ["--compare.backbones", "VGG16,Xception@96=none", "--compare.under_ms", "5"]).compare
    assert (compare.backbones, compare.under_ms, compare.under_mb) == (("VGG16", "Xception@96=none"), 5.0, None)
    with pytest.raises(RecipeError, match=r"compare.under_mb = '0': .*greater than 0"):
        load(write(""), ["--compare.under_mb", "0"])


def test_the_eight_variants_of_the_study() -> None:
    recipe = load(str(HOME / "recipes" / "yoga6-variants.toml"))
    message = []
    for variant in recipe.variants:
        one = recipe.with_variant(variant)
        head = one.head
        message.append((one.backbone.pooling, head.inner, head.activation, head.optimizer, head.loss_from))
    relu = ("relu",)
    assert message == [
        ("avg", (), relu, "adam", "logits"),
        ("avg", (100,), relu, "adam", "logits"),
        ("none", (100,), relu, "adam", "logits"),
        ("avg", (100,), relu, "sgd", "logits"),
        ("avg", (100,), relu, "adam", "probabilities"),
        ("max", (100,), relu, "adam", "probabilities"),
        ("avg", (100,), relu, "sgd", "probabilities"),
        ("avg", (100, 500), ("relu", "selu"), "adam", "probabilities"),
    ]

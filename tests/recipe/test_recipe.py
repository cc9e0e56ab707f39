import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand import environment
from headstand.recipe import HOME, Recipe, RecipeError, Source, find, load, locate

MINIMAL = '[source]\nfolder = "photos"\n'


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text("seed = 5\n" + MINIMAL)


def write(text: str, name: str = "mine") -> str:
    Path("recipes", f"{name}.toml").write_text(text)
    return name


def test_missing_keys_have_their_defaults():
    recipe = load("mine")
    assert (recipe.name, recipe.seed, recipe.data) == ("mine", 5, Path("data/mine"))
    assert (recipe.split.train, recipe.split.validation, recipe.split.test) == (0.6, 0.2, 0.2)
    assert (recipe.backbone.name, recipe.backbone.size, recipe.backbone.weights) == ("Xception", 150, "imagenet")
    assert (recipe.head.epochs, recipe.head.batch_size) == (10, 20)


def test_the_command_line_overrides_the_environment_and_that_the_file(monkeypatch):
    write("seed = 5\n[head]\ndropout = 0.1\nepochs = 3\nbatch_size = 7\n" + MINIMAL)
    monkeypatch.setenv("HEADSTAND_HEAD__DROPOUT", "0.2")
    monkeypatch.setenv("HEADSTAND_HEAD__EPOCHS", "4")
    recipe = load("mine", ["--head.epochs", "6", "--seed=8"])
    assert (recipe.head.dropout, recipe.head.epochs, recipe.head.batch_size, recipe.seed) == (0.2, 6, 7, 8)


def test_lists_and_single_values_on_the_command_line():
    recipe = load("mine", ["--head.inner", "200", "--split.disjoint_from", "one,two"])
    assert (recipe.head.inner, recipe.split.disjoint_from) == ((200,), ("one", "two"))
    assert load("mine", ["--head.inner", "200,50"]).head.inner == (200, 50)


@pytest.mark.parametrize("argv", [["--source", "there"], ["--source=there"]])
def test_a_source_folder_overrides_the_recipe(argv):
    write('[source]\nkind = "kaggle"\ndataset = "a/b"\n')
    source = load("mine", argv).source
    assert (source.kind, source.folder) == ("folder", "there")
    with pytest.raises(RecipeError, match="--source needs a folder"):
        load("mine", ["--source"])


def test_source_takes_a_table():
    write('[source]\nkind = "kaggle"\ndataset = "a/b"\n')
    source = load("mine", ["--source", "lists/Photos.CSV"]).source
    assert (source.kind, source.table, source.folder) == ("table", "lists/Photos.CSV", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1\n" + MINIMAL, r"unknown key sed = 1; allowed there: .*\bseed\b"),
        ("[augmentation]\nflip = 'up'\n" + MINIMAL, r"augmentation.flip = 'up': .*'none', 'horizontal', 'vertical' or"),
        ("[augmentation]\nviews = -1\n" + MINIMAL, r"augmentation.views = -1: .*0"),
        ("[augmentation]\nzoom = 0.6\n" + MINIMAL, r"augmentation.zoom = 0.6: .*0.5"),
        ("[augmentation]\nrotate = 5\n" + MINIMAL, r"unknown key augmentation.rotate = 5; .*rotation"),
        (
            "[finetune]\nunfreeze = 'some'\n" + MINIMAL,
            r"finetune.unfreeze = 'some': allowed: all, 'N blocks' or 'N layers'",
        ),
        ("[finetune]\nunfreeze = '0 blocks'\n" + MINIMAL, r"finetune.unfreeze = '0 blocks': "),
        ("[finetune]\nprecision = 'half'\n" + MINIMAL, r"finetune.precision = 'half': .*'mixed_bfloat16'"),
        ("[head]\ndropuot = 0.5\n" + MINIMAL, r"unknown key head.dropuot = 0.5; allowed there: .*\bdropout\b"),
        ("[head]\ndropout = 1.0\n" + MINIMAL, r"head.dropout = 1.0: .*less than 1"),
        ("[head]\nepochs = 0\n" + MINIMAL, r"head.epochs = 0: .*greater than 0"),
        (
            "[split]\ntrain = 0.9\n" + MINIMAL,
            r"train \+ validation \+ test must be 1 and each more than 0; the sum is 1.3",
        ),
        ("[split]\ntrain = 0.8\ntest = 0.0\n" + MINIMAL, "each more than 0"),
        ("[split]\nstrategy = 'random'\n" + MINIMAL, "split.strategy = 'random': .*'grouped' or 'ordered'"),
        ("[source]\nkind = 'kaggle'\n", "needs dataset = 'OWNER/NAME'"),
        ("[source]\nkind = 'kaggle'\ndataset = '../../etc'\n", "source.dataset = '../../etc'"),
        ("[source]\nkind = 'folder'\n", "needs folder = 'PATH'"),
        ("[source]\nkind = 'table'\n", "needs table = 'FILE.csv'"),
        ("[source]\nkind = 'boxes'\nimages = 'a'\n", "needs annotations = 'PATH'"),
        ("seed = 1\n", "source is missing"),
        ("name = '../up'\n" + MINIMAL, r"name = '\.\./up'"),
        ("seed = -1\n" + MINIMAL, "seed = -1"),
        ("seed = [\n", "mine.toml is not TOML"),
        ("[[search.stages]]\nparameter = 'dropout'\nvalues = [0.2, 1.5]\n" + MINIMAL, "search.stages"),
        ("[[search.stages]]\nparameter = 'colour'\nvalues = [1]\n" + MINIMAL, "search.stages.0.parameter = 'colour'"),
        ("[[search.stages]]\nparameter = 'inner'\nvalues = [1]\nfinalists = 2\n" + MINIMAL, "must be set together"),
    ],
)
def test_errors_name_key_and_value(text, message):
    with pytest.raises(RecipeError, match=message) as raised:
        load(write(text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus", "1"], "unrecognized arguments: --bogus 1; `--help-all` lists the keys"),
        (["--seed", "many"], "seed = 'many'"),
        (["--head.epochs"], "head.epochs.*expected one argument"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(RecipeError, match=message):
        load("mine", arguments)


@pytest.mark.parametrize("variable", ["HEADSTAND_HEAD__DROPOUT", "HEADSTAND_HEAD"])
def test_a_wrong_value_in_the_environment_is_refused(monkeypatch, variable):
    monkeypatch.setenv(variable, "much")
    with pytest.raises(RecipeError, match=r"(?i)head"):
        load("mine")


def test_bytes_that_are_not_text_are_reported():
    Path("recipes/mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="is not TOML"):
        load("mine")


def test_recipes_are_found_in_the_working_directory_first_then_in_the_checkout():
    assert find("mine") == Path("recipes/mine.toml")
    assert find("yoga6") == HOME / "recipes" / "yoga6.toml"
    assert find("recipes/mine.toml") == Path("recipes/mine.toml")
    with pytest.raises(RecipeError, match=r"no recipe 'nosuch'; existing ones: .*mine, .*yoga6"):
        find("nosuch")
    with pytest.raises(RecipeError, match=r"no recipe file nosuch\.toml"):
        find("nosuch.toml")


@given(st.text(max_size=30))
def test_any_name_is_found_or_refused(name):
    try:
        assert find(name).is_file()
    except RecipeError as error:
        assert "no recipe" in str(error)


def test_shipped_recipes_load():
    for path in sorted((HOME / "recipes").glob("*.toml")):
        assert path.stem.startswith(load(str(path)).name)


def test_a_recipe_is_frozen():
    recipe = load("mine")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        recipe.head.dropout = 0.5


def test_a_recipe_is_the_same_after_writing_and_reading():
    recipe = load("mine", ["--head.inner", "200,50"])
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_locate_searches_the_working_directory_then_the_checkout_then_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_DATA", str(tmp_path / "store"))
    (tmp_path / "store" / "photos").mkdir(parents=True)
    (tmp_path / "store" / "recipes").mkdir()
    assert locate("photos", "HEADSTAND_DATA") == tmp_path / "store" / "photos"
    assert locate("recipes", "HEADSTAND_DATA") == Path("recipes")
    assert locate("headstand", "HEADSTAND_DATA") == HOME / "headstand"
    assert locate(tmp_path / "store", "HEADSTAND_DATA") == tmp_path / "store"
    with pytest.raises(RecipeError, match=r"there is no nowhere \(searched nowhere, .*store/nowhere\)$"):
        locate("nowhere", "HEADSTAND_DATA")
    monkeypatch.delenv("HEADSTAND_DATA")
    with pytest.raises(RecipeError, match="HEADSTAND_DATA can name a folder to search"):
        locate("nowhere", "HEADSTAND_DATA")


def test_kaggle_names_are_owner_and_name():
    assert Source(kind="kaggle", dataset="suradechk/yoga-posture-cleaned").dataset
    for name in ("yoga", "a/b/c", "a/", "/b", "a b/c", "../..", "a/.."):
        with pytest.raises(ValueError, match="dataset"):
            Source(kind="kaggle", dataset=name)


@pytest.mark.parametrize(
    ("variable", "suggested"),
    [
        ("HEADSTAND_HAED__DROPOUT", "HEADSTAND_HEAD__DROPOUT"),
        ("HEADSTAND_INFLIGHT", "HEADSTAND_IN_FLIGHT"),
        ("HEADSTAND_HEAD_DROPOUT", "HEADSTAND_HEAD__DROPOUT"),
        ("HEADSTAND_XQZW", ""),
    ],
)
def test_an_unknown_environment_variable_is_refused_with_a_suggestion(monkeypatch, variable, suggested):
    monkeypatch.setenv(variable, "0.5")
    suggestion = rf" \(did you mean {suggested}\?\)" if suggested else ""
    with pytest.raises(RecipeError, match=rf"^unknown environment variable {variable}='0\.5'{suggestion}: unset it\."):
        load("mine")


def test_variables_of_services_and_paths_do_not_stop_a_training(monkeypatch):
    for variable in environment.VARIABLES:
        monkeypatch.setenv(variable, "2")
    assert load("mine").name == "mine"


def test_every_environment_variable_that_code_and_documents_name_is_known():
    files = [
        *HOME.glob("*.py"),
        *HOME.glob("headstand/**/*.py"),
        *HOME.glob("docs/*.md"),
        HOME / "README.md",
        HOME / "Dockerfile",
    ]
    named = {name for file in files for name in re.findall(r"\bHEADSTAND_[A-Z_]*[A-Z]\b", file.read_text("utf-8"))}
    keys = {f"HEADSTAND_{key.upper()}" for key in Recipe.model_fields}
    assert {name for name in named if name.partition("__")[0] not in keys} == set(environment.VARIABLES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["activation", "rel"], "activation.0 = 'rel': Input should be 'relu'"),
        (["activation", "relu,tanh"], "activation = ['relu', 'tanh'] does not fit inner = [100]; allowed: one for"),
        (["activation", "[]"], "head.activation = []: Tuple should have at least 1 item"),
        (["batch_norm", "true", "inner", "[]"], "batch_norm = true needs an inner layer"),
        (
            ["batch_norm", "true", "batch_size", "1"],
            "batch_size = 1 does not work with batch_norm = true; allowed: 2 or more",
        ),
        (["momentum", "0.9"], "momentum = 0.9 does not work with optimizer = 'adam'; allowed: 0, or optimizer 'sgd'"),
        (["momentum", "1", "optimizer", "sgd"], "head.momentum = '1': Input should be less than 1"),
        (
            ["nesterov", "true", "optimizer", "sgd"],
            "nesterov = true does not work with optimizer = 'sgd' and momentum = 0;",
        ),
        (["nesterov", "true", "optimizer", "rmsprop", "momentum", "0.9"], "allowed: false, or optimizer 'sgd' with"),
        (
            ["optimizer", "lion"],
            "head.optimizer = 'lion': Input should be 'adam', 'adamw', 'sgd', 'rmsprop', 'adadelta' or 'lbfgs'",
        ),
        (["schedule", "step"], "head.schedule = 'step': Input should be 'constant', 'cosine' or 'plateau'"),
        (["label_smoothing", "1"], "head.label_smoothing = '1': Input should be less than 1"),
        (["loss_from", "odds"], "head.loss_from = 'odds': Input should be 'logits' or 'probabilities'"),
        (["patience", "-1"], "head.patience = '-1': Input should be greater than or equal to 0"),
    ],
)
def test_an_invalid_head_is_refused(argv, message):
    pairs = zip(argv[::2], argv[1::2], strict=True)
    with pytest.raises(RecipeError) as excinfo:
        load("mine", [argument for key, value in pairs for argument in (f"--head.{key}", value)])
    assert message in str(excinfo.value)


def test_valid_heads():
    head = load("mine", ["--head.inner", "9,8", "--head.activation", "selu,tanh", "--head.optimizer", "adamw"]).head
    assert (head.inner, head.activation, head.optimizer, head.weight_decay) == ((9, 8), ("selu", "tanh"), "adamw", None)
    argv = (
        "--head.optimizer sgd --head.momentum 0.9 --head.nesterov true --head.weight_decay 0.1 --head.batch_norm true"
    )
    head = load("mine", argv.split()).head
    assert (head.momentum, head.nesterov, head.weight_decay, head.batch_norm) == (0.9, True, 0.1, True)
    assert load("mine", ["--backbone.pooling", "none"]).backbone.pooling == "none"


@pytest.mark.parametrize("name", sorted(path.stem for path in (HOME / "recipes").glob("*.toml")))
def test_a_runs_recipe_is_a_recipe_too(workplace: Path, name: str) -> None:
    result = load(name, ["--seed", "7"])
    path = workplace / "recipe.json"
    path.write_text(json.dumps({"recipe": result.model_dump(mode="json"), "data": "0"}))
    assert load(str(path)) == result
    assert load(str(path), ["--seed", "8"]) == result.model_copy(update={"seed": 8})


def test_a_runs_recipe_with_the_keys_of_an_earlier_version_is_read(workplace: Path) -> None:
    result = load("mine", ["--evaluation.confidence_target", "0.8", "--split.disjoint_from", "one"])
    values = result.model_dump(mode="json")
    values["evaluation"]["sure"] = values["evaluation"].pop("confidence_target")
    values["split"]["keep_apart"] = values["split"].pop("disjoint_from")
    (workplace / "recipe.json").write_text(json.dumps({"recipe": values}))
    assert load("recipe.json") == result
    with pytest.raises(RecipeError, match=r"evaluation\.sure.*allowed there: average, confidence_target"):
        load(write(MINIMAL + "[evaluation]\nsure = 0.8\n"))
    with pytest.raises(RecipeError, match="sure"):
        load("recipe.json", ["--evaluation.sure", "0.8"])


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 1}', '{"recipe": 3}', '{"recipe": null}', "\ud800"])
def test_other_json_is_not_a_recipe(workplace: Path, text: str) -> None:
    (workplace / "recipe.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecipeError, match=r"recipe.json is not a run's recipe.json"):
        load("recipe.json")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("a.keras", "imagenet", "a.keras does not work with weights = 'imagenet'; allowed: 'pretrained' or a file"),
        ("EfficientNetLite0", "none", "allowed: 'imagenet' or a file"),
        ("VGG16", "pretrained", "allowed: 'imagenet', 'none' or a file"),
    ],
)
def test_weights_that_a_network_does_not_have(name: str, weights: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load("mine", ["--backbone.name", name, "--backbone.weights", weights])
    assert message in str(caught.value)


def test_size_of_a_network_in_a_file_is_its_own_unless_the_recipe_states_one() -> None:
    shipped = ["--backbone.name", "EfficientNetLite0"]
    assert load("mine", shipped).backbone.size == 224
    assert load("mine", [*shipped, "--backbone.size", "96"]).backbone.size == 96
    assert load("mine", ["--backbone.name", "nowhere.keras"]).backbone.size == 150


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "My Clothes", "name = 'My Clothes': allowed: lower-case letters, digits, - and _"),
        ("source.dataset", "yoga", "source.dataset = 'yoga': allowed: OWNER/NAME"),
        ("split.disjoint_from", '["A"]', "split.disjoint_from.0 = 'A': allowed: lower-case letters, digits, - and _"),
        ("compare.backbones", '["@"]', "compare.backbones.0 = '@': allowed: NAME, NAME@PIXELS, NAME=WEIGHTS or NAME@"),
    ],
)
def test_a_value_of_another_form_is_refused_with_the_allowed_one(key, value, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        load("mine", [f"--{key}", value])

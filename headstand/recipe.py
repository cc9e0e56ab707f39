"""A run, typed and validated: what to prepare, learn and export.

A recipe is a TOML file under `recipes/`. Values come from the file, then from the environment
(`HEADSTAND_HEAD__DROPOUT=0.5`), then from the command line (`--head.dropout 0.5`); later ones win.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from headstand.errors import HeadstandError

HOME = Path(__file__).resolve().parents[1]
"""The folder of the checkout: where the shipped `recipes/` and `models/` lie."""

_PLACES = ("HEADSTAND_CACHE", "HEADSTAND_DATA", "HEADSTAND_MODEL", "HEADSTAND_WEIGHTS")
"""Variables that say where things lie; no keys of a recipe."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class RecipeError(HeadstandError):
    """A recipe that cannot be read, or a key or value in it that is not allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Section):
    """Where the images come from."""

    kind: Literal["kaggle", "folder", "table", "rendered", "boxes", "cifar", "arrays", "heatmaps"] = "folder"
    dataset: str | None = Field(None, pattern=r"^\w[\w.-]*/\w[\w.-]*$", description="kaggle: the dataset, OWNER/NAME")
    folder: str | None = Field(
        None,
        description="folder: with one folder of images a class, or a zip or tar of one, as a path, an http(s):// or an "
        "s3:// address; cifar: its folder or archive; arrays: folder of data.npy and labels.npy, or one a split; "
        "heatmaps: folder with one folder of .npy files a class",
    )
    table: str | None = Field(None, description="table: a CSV file with the columns path, label and perhaps split")
    per_class: Positive | None = Field(None, description="rendered: images for each class, 100; cifar: at most so many")
    size: Positive | None = Field(None, description="side of an image in pixels; rendered: 256; boxes: 299")
    images: str | None = Field(None, description="boxes: folder or archive of photos, a path or an address")
    annotations: str | None = Field(None, description="boxes: folder or archive of Pascal VOC boxes")
    most: Positive | Literal["all"] = Field(10, description="boxes: how many classes, the most numerous first")
    labels: Literal["coarse", "fine"] = Field(
        "coarse", description="cifar: 20 superclasses or 100 classes; arrays: which names of a `meta` beside them"
    )
    groups: str | None = Field(None, description="heatmaps: pattern whose groups name a file's sequence or person")

    @field_validator("folder", "table", "images", "annotations", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """A path from Python code says the same as its text; an address is no path."""
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        needed = {
            "kaggle": {"dataset": "OWNER/NAME"},
            "folder": {"folder": "PATH"},
            "table": {"table": "FILE.csv"},
            "arrays": {"folder": "PATH"},
            "heatmaps": {"folder": "PATH"},
            "boxes": {"images": "PATH", "annotations": "PATH"},
        }
        for key, example in needed.get(self.kind, {}).items():
            if getattr(self, key) is None:
                raise ValueError(f"kind {self.kind!r} needs {key} = {example!r}")
        return self


class Split(_Section):
    """How the images are divided."""

    train: Fraction = 0.6
    validation: Fraction = 0.2
    test: Fraction = 0.2
    strategy: Literal["grouped", "ordered"] = Field(
        "grouped", description="grouped: stratified, near duplicates together; ordered: in file order, as they come"
    )
    keep_apart: tuple[Name, ...] = Field(
        (), description="recipes whose validation and test photos must have no near duplicate here"
    )

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6 or min(self.train, self.validation, self.test) <= 0:
            raise ValueError(f"train + validation + test must be 1 and each more than 0, not {total:g}")
        return self


class Backbone(_Section):
    """The pretrained network that turns an image into features."""

    name: str = Field("Xception", description="a keras.applications model")
    size: Annotated[int, Field(ge=32, le=1024)] = Field(150, description="side of the input in pixels")
    weights: str = Field("imagenet", description="imagenet, none, or a file: weights or a Headstand checkpoint")
    pooling: Literal["avg", "max"] = "avg"


class Head(_Section):
    """The part that is trained: inner layers, dropout, softmax."""

    inner: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = Field(
        (100,), description="sizes of the inner layers; empty for none"
    )
    activation: Literal["relu", "selu", "gelu", "tanh"] = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.001
    epochs: Positive = 10
    batch_size: Positive = 20
    class_weights: bool = Field(True, description="weigh rare classes up, so that each class counts the same")

    @field_validator("inner", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """`inner = 100` says the same as `inner = [100]`."""
        return (value,) if isinstance(value, int | str) and not isinstance(value, bool) else value


class Stage(_Section):
    """One step of the search: a parameter of the head is tried at each value, the others stay at their best."""

    parameter: Literal["inner", "activation", "dropout", "learning_rate", "epochs", "batch_size"]
    values: tuple[Any, ...] = Field(min_length=1)
    finalists: Annotated[int, Field(ge=0)] = Field(0, description="how many of the best are tried again, for longer")
    finalist_epochs: Positive | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        for value in self.values:
            Head.model_validate({self.parameter: value})
        if bool(self.finalists) != bool(self.finalist_epochs):
            raise ValueError("finalists and finalist_epochs go together")
        if self.finalists and self.parameter == "epochs":
            raise ValueError("a stage that tries epochs has no finalists")
        return self


class Search(_Section):
    """What is tried before the head is chosen, stage by stage."""

    stages: tuple[Stage, ...] = ()


class Finetune(_Section):
    """Training the backbone too, after the head. `epochs = 0` leaves the backbone as it is."""

    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(3e-4, description="peak, after warm-up; cosine to 0")
    warmup: Fraction = Field(0.1, description="share of the steps with a rising rate")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    batch_size: Positive = 32
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="least share of a photo in a crop")
    mirror: bool = True
    color: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="largest change of brightness and contrast")
    refit: bool = Field(False, description="after the figures are taken, train once more on all splits")


class Card(_Section):
    """What a published model's card says that no program can know."""

    weights: str = Field("not stated", description="where the starting weights come from, with their licence")
    photos: str = Field("not stated", description="what the photos are")


class Recipe(BaseSettings):
    """All of a run. Frozen; unknown keys and impossible values are refused.

    Load one with `load`.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HEADSTAND_", env_nested_delimiter="__", cli_hide_none_type=True
    )

    name: Name = Field(description="names the data, the runs and the model")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    source: Source
    split: Split = Split()
    backbone: Backbone = Backbone()
    head: Head = Head()
    search: Search = Search()
    finetune: Finetune = Finetune()
    card: Card = Card()

    @model_validator(mode="after")
    def _others(self) -> "Recipe":
        if self.name in self.split.keep_apart:
            raise ValueError(
                f"split.keep_apart names {self.name!r}, which is this recipe's own name: its photos would go"
            )
        return self

    @property
    def data(self) -> Path:
        """The prepared dataset's folder."""
        return Path("data") / self.name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file's values arrive as init values, so the environment goes before them; no dotenv, no secrets."""
        return env_settings, init_settings


def load(name: str = "yoga6", arguments: list[str] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        name: the name of a file under `recipes/`, or a path that ends in `.toml`.
        arguments: command-line words such as `["--head.dropout", "0.5"]`.

    Raises:
        RecipeError: no such recipe, not TOML, or a key or value that is not allowed.
    """
    path = find(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    values.setdefault("name", path.stem)
    _check_environment()
    try:
        file = InitSettingsSource(Recipe, init_kwargs=values)
        line = CliSettingsSource[Any](
            Recipe, cli_parse_args=_shorthands(arguments or []), cli_exit_on_error=False, cli_prog_name=path.stem
        )
        return Recipe(_cli_settings_source=line, **file.init_kwargs)
    except ValidationError as error:
        raise RecipeError(_explain(error, path)) from None
    except SettingsError as error:
        text = str(error).removeprefix("error parsing CLI: ")
        raise RecipeError(f"{text}; `--help` lists the keys") from None


def find(name: str) -> Path:
    """The recipe's file: a path as it is, a name from `recipes/` here or in the checkout.

    Raises:
        RecipeError: there is none; the message lists those there are.
    """
    if name.endswith(".toml"):
        if Path(name).is_file():
            return Path(name)
        raise RecipeError(f"there is no recipe file {name}")
    folders = [Path("recipes"), HOME / "recipes"]
    for folder in folders:
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")})
    raise RecipeError(f"there is no recipe {name!r}; there are {', '.join(known) or 'none'}")


def locate(path: str | Path, variable: str) -> Path:
    """A file or folder that a recipe names: as it is, else in the checkout, else under the folder in `variable`.

    Args:
        path: what the recipe says.
        variable: the environment variable to look under: `HEADSTAND_DATA` or `HEADSTAND_WEIGHTS`.

    Raises:
        RecipeError: it is in none of these places.
    """
    folder = os.environ.get(variable)
    places = [Path(path).expanduser(), HOME / path, *([Path(folder).expanduser() / path] if folder else [])]
    places = list(dict.fromkeys(places))  # an absolute path is the same place thrice
    for place in places:
        if place.exists():
            return place
    hint = "" if folder or Path(path).is_absolute() else f"; {variable} can name a folder to look in"
    raise RecipeError(f"there is no {path} (looked at {', '.join(map(str, places))}){hint}")


def _check_environment() -> None:
    """Refuse what looks like a key and is none: pydantic-settings passes over variables that it does not know.

    Raises:
        RecipeError: names the variable.
    """
    for variable in sorted(os.environ):
        section = variable.removeprefix("HEADSTAND_").partition("__")[0].lower()
        if variable.startswith("HEADSTAND_") and variable not in _PLACES and section not in Recipe.model_fields:
            keys = ", ".join(f"HEADSTAND_{key.upper()}" for key in Recipe.model_fields)
            raise RecipeError(
                f"the environment has {variable}={os.environ[variable]!r}, which is no key of a recipe ({keys}) "
                f"and none of {', '.join(_PLACES)}: unset it"
            )


def _shorthands(arguments: list[str]) -> list[str]:
    """`--source PLACE` is what people type for `--source.kind folder --source.folder PLACE`; a .csv file is a table."""
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--source" or word.startswith("--source="):
            place = word.partition("=")[2] or next(rest, "")
            if not place:
                raise RecipeError("--source needs a folder, an archive of one, an address of that, or a .csv file")
            kind = "table" if place.lower().endswith(".csv") else "folder"
            words += ["--source.kind", kind, f"--source.{kind}", place]
        else:
            words.append(word)
    return words


def _explain(error: ValidationError, path: Path) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "recipe"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key} = {item['input']!r}; allowed there: {', '.join(_allowed(item['loc']))}")
        elif item["type"] == "missing":
            lines.append(f"{key} is missing")
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}")
    return f"recipe {path}: " + "; ".join(lines)


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section that holds an unknown one."""
    section: Any = Recipe
    for part in location[:-1]:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
    return sorted(section.model_fields)

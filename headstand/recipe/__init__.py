"""A run, typed and validated: what to prepare, learn and export.

A recipe is a TOML file under `recipes/`. Values come from the file, then from the environment
(`HEADSTAND_HEAD__DROPOUT=0.5`), then from the command line (`--head.dropout 0.5`); later ones win.
"""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from headstand import environment
from headstand.errors import HeadstandError
from headstand.recipe.search_space import Search
from headstand.recipe.sections import Augmentation, Backbone, Card, Evaluation, Finetune, Head, Name, Source, Split
from headstand.recipe.variants import Compare, Variant, with_backbone

HOME = Path(__file__).resolve().parents[2]
"""The folder of the checkout: where the shipped `recipes/` and `models/` lie."""


class RecipeError(HeadstandError):
    """A recipe that cannot be read, or a key or value in it that is not allowed."""


class Recipe(BaseSettings):
    """Configuration of one run, immutable; unknown keys and invalid values are errors.

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
    augmentation: Augmentation = Augmentation()
    head: Head = Head()
    search: Search = Search()
    finetune: Finetune = Finetune()
    evaluation: Evaluation = Evaluation()
    card: Card = Card()
    variants: tuple[Variant, ...] = Field((), description="changes that `python -m headstand compare` races")
    compare: Compare = Compare()

    @model_validator(mode="after")
    def _others(self) -> "Recipe":
        if self.name in self.split.keep_apart:
            raise ValueError(
                f"split.keep_apart names {self.name!r}, which is this recipe's own name: its photos would go"
            )
        self.search.check(self.head)
        if self.backbone.name == "keypoints" and self.finetune.epochs:
            raise ValueError("finetune.epochs: nothing in the backbone keypoints learns; allowed: 0")
        if (kind := self.backbone.input.kind) != "photos" and self.evaluation.average == "crops":
            raise ValueError(f"evaluation.average = 'crops': {kind} have no crops; allowed: 'none', 'mirror'")
        names = [variant.name for variant in self.variants]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two variants are named {name!r}: give each a name of its own")
        for variant in self.variants:
            self.varied(variant)
        for text in self.compare.backbones:
            try:
                with_backbone(text, self.backbone)
            except ValidationError as error:
                raise ValueError(f"compare.backbones, {text!r}: {'; '.join(_lines(error, ('backbone',)))}") from None
        return self

    def varied(self, variant: Variant) -> "Recipe":
        """The recipe with a variant's changes, which go before the environment's and the command line's values.

        Raises:
            ValueError: a key or value that is not allowed; names the variant.
        """
        sections = {}
        for name, changes in variant.changes().items():
            section = getattr(self, name)
            try:
                sections[name] = type(section).model_validate({**section.model_dump(), **changes})
            except ValidationError as error:
                told = "; ".join(_lines(error, (name,)))
                raise ValueError(f"variant {variant.name!r}: {told}") from None
        # Not validated as a whole: that would read the environment again. What spans sections is checked here.
        changed = self.model_copy(update=sections)
        try:
            changed.search.check(changed.head)
        except ValueError as error:
            raise ValueError(f"variant {variant.name!r}: {error}") from None
        return changed

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
        name: the name of a file under `recipes/`, a path that ends in `.toml`, or a run's `recipe.json`.
        arguments: command-line words such as `["--head.dropout", "0.5"]`.

    Raises:
        RecipeError: no such recipe, not TOML or no run's, or a key or value that is not allowed.
    """
    path = find(name)
    resolved = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        values = dict(json.loads(text)["recipe"]) if resolved else tomllib.loads(text)
    except (ValueError, KeyError, TypeError) as error:
        kind = "a run's recipe.json" if resolved else "TOML"
        raise RecipeError(f"{path} is not {kind}: {error}") from error
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
    if name.endswith((".toml", ".json")):
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
    """Refuse an environment variable that looks like a recipe key but is none; pydantic-settings would ignore it.

    Raises:
        RecipeError: with the variable's name, its value and the most similar known name.
    """
    sections = {f"HEADSTAND_{section.upper()}": _allowed((section, "")) for section in Recipe.model_fields}
    keys = [f"{section}__{key.upper()}" for section, inside in sections.items() for key in inside]
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith("HEADSTAND_") or variable in environment.VARIABLES:
            continue
        if variable.partition("__")[0] not in sections:
            known = (*sections, *keys, *environment.VARIABLES)
            raise RecipeError(
                f"unknown environment variable {variable}={value!r}{environment.suggestion(variable, known)}: "
                f"unset it. Known are {', '.join((*sections, *environment.VARIABLES))}"
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
    return f"recipe {path}: " + "; ".join(_lines(error))


def _lines(error: ValidationError, inside: tuple[int | str, ...] = ()) -> list[str]:
    """What pydantic complains of, a line each; `inside` is where the validated section lies in the recipe."""
    lines = []
    for item in error.errors():
        location = (*inside, *item["loc"])
        key = ".".join(str(part) for part in location) or "recipe"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key} = {item['input']!r}; allowed there: {', '.join(_allowed(location))}")
        elif item["type"] == "missing":
            lines.append(f"{key} is missing")
        else:
            # A whole section is no value that anyone would look for.
            value = "" if isinstance(item["input"], dict | BaseModel) else f" = {item['input']!r}"
            lines.append(f"{key}{value}: {item['msg'].removeprefix('Value error, ')}")
    return lines


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section that holds an unknown one."""
    section: Any = Recipe
    for part in location[:-1]:
        if isinstance(part, str) and part in getattr(section, "model_fields", ()):
            annotation = section.model_fields[part].annotation
            section = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
    return sorted(getattr(section, "model_fields", ()))

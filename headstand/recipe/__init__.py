"""Recipe: the typed and validated configuration of one run.

A recipe is a TOML file under `recipes/`. Values come from the file, then from the environment
(`HEADSTAND_HEAD__DROPOUT=0.5`), then from the command line (`--head.dropout 0.5`); later ones win.
"""

import json
import os
import re
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

from headstand import HOME, environment
from headstand.recipe.paths import RecipeError
from headstand.recipe.paths import locate as locate
from headstand.recipe.search_space import Search
from headstand.recipe.sections import Augmentation, Backbone, Card, Evaluation, Finetune, Head, Name, Source, Split
from headstand.recipe.variants import Compare, Variant, with_backbone


class Recipe(BaseSettings):
    """Configuration of one run, immutable; unknown keys and invalid values are errors.

    Load one with `load`.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HEADSTAND_", env_nested_delimiter="__", cli_hide_none_type=True
    )

    name: Name = Field(description="name of the dataset, the runs and the model")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="of the split, the search and the training")
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None,
        description="time for the whole run, conversion included: fine-tuning gets as many epochs as fit into what is "
        "left of it, at most finetune.epochs",
    )
    source: Source
    split: Split = Split()
    backbone: Backbone = Backbone()
    augmentation: Augmentation = Augmentation()
    head: Head = Head()
    search: Search = Search()
    finetune: Finetune = Finetune()
    evaluation: Evaluation = Evaluation()
    card: Card = Card()
    variants: tuple[Variant, ...] = Field(
        (), description="changed settings that `python -m headstand compare` compares"
    )
    compare: Compare = Compare()

    @model_validator(mode="after")
    def _others(self) -> "Recipe":
        if self.name in self.split.disjoint_from:
            raise ValueError(
                f"split.disjoint_from contains {self.name!r}, the name of this recipe: all of its photos would be left "
                "out"
            )
        self.search.check(self.head)
        if self.backbone.name == "keypoints" and self.finetune.epochs:
            raise ValueError("finetune.epochs: the backbone keypoints has no trainable weights; allowed: 0")
        if (kind := self.backbone.input.kind) != "photos" and self.evaluation.average == "crops":
            raise ValueError(f"evaluation.average = 'crops': {kind} have no crops; allowed: 'none', 'mirror'")
        names = [variant.name for variant in self.variants]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two variants are named {name!r}: names must be unique")
        for variant in self.variants:
            self.with_variant(variant)
        for text in self.compare.backbones:
            try:
                with_backbone(text, self.backbone)
            except ValidationError as error:
                raise ValueError(f"compare.backbones, {text!r}: {'; '.join(_lines(error, ('backbone',)))}") from None
        return self

    def with_variant(self, variant: Variant) -> "Recipe":
        """Returns the recipe with a variant's changes, which override the environment and the command line.

        Raises:
            ValueError: a key or value is not allowed; the message names the variant.
        """
        sections = {}
        for name, changes in variant.changes().items():
            section = getattr(self, name)
            try:
                sections[name] = type(section).model_validate({**section.model_dump(), **changes})
            except ValidationError as error:
                reason = "; ".join(_lines(error, (name,)))
                raise ValueError(f"variant {variant.name!r}: {reason}") from None
        # Validating the whole recipe would read the environment again; checks across sections are repeated here.
        changed = self.model_copy(update=sections)
        try:
            changed.search.check(changed.head)
        except ValueError as error:
            raise ValueError(f"variant {variant.name!r}: {error}") from None
        return changed

    @property
    def data(self) -> Path:
        """Folder of the prepared dataset."""
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
        """The environment overrides the values of the file, which are init values; no dotenv, no secrets."""
        return env_settings, init_settings


_FORMS = {
    "variants": "allowed: up to 60 characters without spaces at the ends",
    "name": "allowed: lower-case letters, digits, - and _",
    "disjoint_from": "allowed: lower-case letters, digits, - and _",
    "dataset": "allowed: OWNER/NAME",
    "backbones": "allowed: NAME, NAME@PIXELS, NAME=WEIGHTS or NAME@PIXELS=WEIGHTS",
}
"""Allowed values of keys whose type is a pattern."""


def load(name: str = "yoga6", arguments: list[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        name: the name of a file under `recipes/`, a path that ends in `.toml`, or a run's `recipe.json`.
        arguments: command-line arguments such as `["--head.dropout", "0.5"]`.

    Raises:
        RecipeError: the recipe does not exist, has a syntax error, or has a key or value that is not allowed.
    """
    path = find(name)
    resolved = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        values = with_current_keys(json.loads(text)["recipe"]) if resolved else tomllib.loads(text)
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
        raise RecipeError(f"recipe {path}: {'; '.join(_lines(error))}") from None
    except SettingsError as error:
        text = str(error).removeprefix("error parsing CLI: ")
        unknown = re.search(r"unrecognized arguments: --([^\s=]+)", text)
        options = [*(f"--{section}" for section in Recipe.model_fields), *(f"--{'.'.join(key)}" for key in _keys())]
        similar = environment.suggestion(f"--{unknown[1]}", options, prefix="--") if unknown else ""
        raise RecipeError(f"{text}{similar}; `--help-all` lists the keys") from None


_RENAMED = {"evaluation": {"sure": "confidence_target"}, "split": {"keep_apart": "disjoint_from"}}
"""Keys of earlier recipes that are called otherwise now, by section."""


def with_current_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the resolved recipe of an earlier run with the present names of its keys."""
    values = dict(values)
    for section, renamed in _RENAMED.items():
        if section in values:
            values[section] = {renamed.get(key, key): value for key, value in dict(values[section]).items()}
    return values


def find(name: str) -> Path:
    """Returns the file of a recipe: the path itself, or a name in `recipes/` of the working directory or repository.

    Raises:
        RecipeError: there is no such recipe; the message lists the existing ones.
    """
    if name.endswith((".toml", ".json")):
        if Path(name).is_file():
            return Path(name)
        raise RecipeError(f"there is no recipe file {name}")
    for folder in _folders():
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = names()
    similar = environment.suggestion(name, known, prefix="")
    raise RecipeError(f"there is no recipe {name!r}{similar}; existing ones: {', '.join(known) or 'none'}")


def names() -> list[str]:
    """Returns the names of all recipes."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.toml")})


def _folders() -> list[Path]:
    return [Path("recipes"), HOME / "recipes"]


def _check_environment() -> None:
    """Checks for environment variables that look like recipe keys but are not; pydantic-settings would ignore them.

    Raises:
        RecipeError: there is one; the message has its name, its value and the most similar known name.
    """
    sections = [f"HEADSTAND_{section.upper()}" for section in Recipe.model_fields]
    keys = [f"HEADSTAND_{section.upper()}__{key.upper()}" for section, key in _keys()]
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
    """Expands `--source PATH` to `--source.kind folder --source.folder PATH`, or for a .csv file to a table."""
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--source" or argument.startswith("--source="):
            location = argument.partition("=")[2] or next(rest, "")
            if not location:
                raise RecipeError("--source needs a folder, an archive of a folder, a URL of either, or a .csv file")
            kind = "table" if location.lower().endswith(".csv") else "folder"
            expanded += ["--source.kind", kind, f"--source.{kind}", location]
        else:
            expanded.append(argument)
    return expanded


def _keys() -> list[tuple[str, str]]:
    """Returns all keys in sections, each with the name of its section first."""
    return [(section, key) for section in Recipe.model_fields for key in _allowed((section, ""))]


def _lines(error: ValidationError, inside: tuple[int | str, ...] = ()) -> list[str]:
    """Returns the errors of a validation as texts; `inside` is the location of the validated section in the recipe."""
    lines = []
    for item in error.errors():
        location = (*inside, *item["loc"])
        key = ".".join(str(part) for part in location) or "recipe"
        if item["type"] == "extra_forbidden":
            allowed = _allowed(location)
            similar = environment.suggestion(str(location[-1]), allowed, prefix="")
            lines.append(f"unknown key {key} = {item['input']!r}; allowed there: {', '.join(allowed)}{similar}")
        elif item["type"] == "missing":
            lines.append(f"{key} is missing")
        else:
            # The value of a whole section would not help.
            value = "" if isinstance(item["input"], dict | BaseModel) else f" = {item['input']!r}"
            text = item["msg"].removeprefix("Value error, ")
            if item["type"] == "string_pattern_mismatch":
                text = next((form for part, form in _FORMS.items() if part in location), text)
            lines.append(f"{key}{value}: {text}")
    return lines


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """Returns the keys of the section that an unknown key is in."""
    section: Any = Recipe
    for part in location[:-1]:
        if isinstance(part, str) and part in getattr(section, "model_fields", ()):
            annotation = section.model_fields[part].annotation
            section = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
    return sorted(getattr(section, "model_fields", ()))

"""Commands `train`, `explore` and `init`: from photos to a model that is ready to be served, and the recipe of it."""

import html
import os
import re
import shlex
import textwrap
import time
import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import tomlkit
from pydantic import BaseModel

from headstand import environment, recipe, storage
from headstand.cli.command import UsageError
from headstand.cli.options import changed, searched, silent
from headstand.errors import HeadstandError
from headstand.preparation import preparation_record
from headstand.preparation.doctor.checkup import PAGE, checkup, errors
from headstand.preparation.explore.explore import explore
from headstand.preparation.prepare import prepare
from headstand.preparation.summary import Summary
from headstand.recipe import Recipe, Source

if TYPE_CHECKING:
    from headstand.diagnosis import Finding
    from headstand.export.exporting import Export
    from headstand.training import Outcome

BASE = "photos"
"""The recipe of a folder of photos."""

FINDINGS = 3
"""Number of findings of the diagnosis that are printed."""


@dataclass(frozen=True)
class Trained:
    """A trained and converted model.

    Attributes:
        recipe: the recipe with all settings.
        wrong: errors in the photos that make the metrics wrong, with the remedy; empty without errors.
        outcome: the run: checkpoint, report and findings.
        exported: the conversion.
    """

    recipe: Recipe
    wrong: str
    outcome: "Outcome"
    exported: "Export"

    @property
    def accuracy(self) -> float:
        """Share of the test photos that are classified correctly."""
        return float(self.outcome.report["test"]["accuracy"])

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson)."""
        low, high = self.outcome.report["test"]["interval"]
        return low, high

    @property
    def findings(self) -> "list[Finding]":
        """The worst findings of the diagnosis, at most `FINDINGS`."""
        return [finding for finding in self.outcome.findings if finding.severity != "note"][:FINDINGS]

    @property
    def bundle(self) -> Path:
        """The converted model, a `.tflite`."""
        return self.exported.bundle

    @property
    def report(self) -> Path:
        """The report of the run, a page."""
        return self.outcome.folder / "report.html"

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"The model is right on {self.accuracy:.1%} of {self.outcome.report['test']['count']} photos that it was "
            f"not trained on (95 % interval {low:.1%} to {high:.1%})."
        )

    def _repr_html_(self) -> str:
        lines = [str(self), *([f"warning: {self.wrong}"] if self.wrong else []), *map(str, self.findings)]
        text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        return f'{text}<p><a href="{html.escape(self.report.as_posix())}">report</a></p>'


def train(photos: str, base: str, overrides: list[str], quiet: bool = False) -> None:
    """Trains as `trained`, and prints the result and how to use it; `quiet` prints nothing before."""
    with silent(quiet):
        result = trained(photos, base, overrides)
    print(f"\n{result}")
    if notes := result.outcome.report["fine_tuning"]:
        print(f"\nFine-tuning: {'; '.join(notes)}.")
    if result.wrong:
        print(f"\nwarning: {result.wrong}")
    for finding in result.findings:
        print(f"\n{finding}")
        if options := next((each.options for each in finding.suggestions if each.options), []):
            print(f"  {command('train', photos, base, overrides, options)}")
    from headstand.preparation import manifest

    data, bundle = result.recipe.data, str(result.bundle)
    example = str(data / manifest.read(data).split("test")[0].path)
    print(f"\nreport    {result.report}")
    print(f"try it    {shlex.join(['headstand', 'predict', bundle, example])}")
    print(f"serve it  {shlex.join(['headstand', 'serve', bundle])}")


def trained(photos: str, base: str, overrides: list[str]) -> Trained:
    """Prepares photos, trains on them, and converts the model to the fastest format.

    Args:
        photos: a source of photos, or a recipe, as in `resolved`.
        base: the recipe whose settings are used for a source of photos.
        overrides: recipe keys as command-line arguments.

    Raises:
        HeadstandError: the photos cannot be used, or a step fails.
    """
    began = time.perf_counter()
    settings = resolved(photos, base, overrides)
    print("".join(searched(settings, overrides)), end="", flush=True)
    if wrong := _prepared(settings):
        print(f"warning: {wrong}", flush=True)
    # Imported here because TensorFlow takes seconds to import, and unusable photos should be reported before.
    from headstand import training
    from headstand.features import backbones

    if note := backbones.note(settings.backbone):
        print(note, flush=True)
    outcome = training.train(settings, elapsed=time.perf_counter() - began)
    print(f"\nconverting {outcome.final}", flush=True)
    exported = converted(outcome.final)
    print(exported.summary)
    return Trained(settings, wrong, outcome, exported)


def converted(checkpoint: Path) -> "Export":
    """Converts a checkpoint to the fastest format that passes on validation, or to float32 if that fails on test.

    Raises:
        HeadstandError: not even float32 gives the same predictions, or the conversion fails.
    """
    from headstand.export import exporting
    from headstand.export.parity import ParityError

    try:
        return exporting.export(checkpoint, "best", log=lambda line: print(line, flush=True))
    except ParityError as error:
        print(f"{str(error).partition(', so nothing')[0]} on the test photos; float32 is written instead", flush=True)
        return exporting.export(checkpoint, "float32")


def prepare_and_explore(photos: str, base: str, overrides: list[str]) -> None:
    """Prepares photos and prints what was found in them; arguments and errors as for `train`."""
    if wrong := _prepared(resolved(photos, base, overrides)):
        raise HeadstandError(wrong)
    print(f"train it: {command('train', photos, base, overrides)}")


def prepare_and_check(settings: Recipe) -> tuple[Summary, str]:
    """Prepares the dataset of a recipe, prints its summary, and writes its plots and the findings of the doctor.

    Returns:
        The summary, and a sentence about errors that would make the metrics wrong, empty without errors.
    """
    summary = prepare(settings)
    print(summary)
    for line in [*checkup(settings.data, summary.remarks()), *explore(settings.data)]:
        print(line, flush=True)
    found = errors(settings.data)
    if not found:
        return summary, ""
    page = settings.data / "explore" / PAGE
    many = f"{found} error{'s' * (found != 1)}"
    return summary, f"{many} would make metrics wrong; {page} shows where. Correct the source and prepare it again"


def _prepared(settings: Recipe) -> str:
    """Prepares the dataset of a recipe; returns the errors that would make metrics wrong, with the remedy, if any."""
    _, wrong = prepare_and_check(settings)
    if wrong and settings.source.kind == "folder":
        copy = shlex.join(["headstand", "doctor", settings.source.location, "--fix", f"{settings.name}-cleaned"])
        wrong += f", or use a copy without these photos: {copy}"
    return wrong


def resolved(photos: str, base: str, overrides: list[str]) -> Recipe:
    """Returns the recipe of a source of photos, or the recipe that `photos` names.

    Args:
        photos: a folder, archive, table or URL as for `--source`; else the name or file of a recipe.
        base: the recipe whose settings are used for a source of photos.
        overrides: recipe keys as command-line arguments.

    Raises:
        RecipeError: there is neither such a source nor such a recipe, or a key is not valid.
        UsageError: the dataset of this name has another source.
    """
    if _is_recipe(photos):
        settings = recipe.load(photos, overrides)
        check_source(settings, overrides)
        return settings
    name = [] if "--name" in overrides else ["--name", dataset_name(photos)]
    settings = recipe.load(base, ["--source", photos, *name, *overrides])
    before = preparation_record.source(settings.data)
    if name and before and before.location != preparation_record.located(settings.source).location:
        raise UsageError(
            f"{settings.data} holds the photos of {before.location}: choose another --name, or remove that folder"
        )
    return settings


def check_source(settings: Recipe, overrides: Sequence[str]) -> None:
    """Checks that a dataset is not replaced by photos of a source that nobody has named.

    The photos may be those of an earlier `--source`, and the recipe names another.

    Raises:
        UsageError: the dataset has another source than the recipe, and neither arguments nor environment name one.
    """
    if any(name.startswith(("--source", "HEADSTAND_SOURCE")) for name in [*overrides[::2], *os.environ]):
        return
    before, now = preparation_record.source(settings.data), preparation_record.located(settings.source)
    if not before or before.location == now.location:
        return
    raise UsageError(
        f"{settings.data} holds the photos of {before.location}, and the recipe names {now.location}: "
        f"{_option(before)} prepares those again, {_option(now)} replaces them, --name NAME keeps both"
    )


def _option(source: Source) -> str:
    """Returns the option that selects a source."""
    if source.kind in ("folder", "table"):
        return shlex.join(["--source", source.location])
    return f"--source.kind {source.kind}"


def _is_recipe(photos: str) -> bool:
    """Returns whether an argument names a recipe and not a source of photos.

    Raises:
        RecipeError: it names neither.
    """
    if photos.endswith((".toml", ".json")):
        return True
    if storage.is_remote(photos):
        return False
    try:
        recipe.locate(photos, "HEADSTAND_DATA")
    except recipe.RecipeError:
        names = recipe.names()
        if photos in names:
            return True
        raise recipe.RecipeError(
            f"there is no folder, archive or table {photos}, and no recipe of this name"
            f"{environment.suggestion(photos, names, prefix='')}"
        ) from None
    return False


def dataset_name(photos: str) -> str:
    """Returns a name for the dataset of a source: that of the folder or file, in characters that a recipe accepts.

    Raises:
        UsageError: it has no such character.
    """
    path = urlsplit(photos).path if storage.is_remote(photos) else Path(photos).expanduser().resolve().as_posix()
    name = re.sub(r"(\.tar)?\.(zip|tar|t?gz|t?bz2|t?xz|csv)$", "", PurePosixPath(path).name, flags=re.IGNORECASE)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = re.sub("[^a-z0-9_-]+", "-", plain).strip("-_")[:100]
    if not found:
        raise UsageError(f"{photos} gives no name for the dataset: add --name NAME")
    return found


def command(verb: str, photos: str, base: str, overrides: Sequence[str], changes: Sequence[str] = ()) -> str:
    """Returns a complete command line, in which `changes` replace overrides of the same keys."""
    recipe_option = ["--recipe", base] if base != BASE else []
    return changed(["headstand", verb, photos, *recipe_option], overrides, changes)


def init(photos: str, base: str, overrides: list[str]) -> Path:
    """Writes the recipe that `train` would use for photos, with a comment at each key; returns its path.

    Raises:
        HeadstandError: the photos do not exist, a key is not valid, or the file exists.
    """
    if _is_recipe(photos):
        raise UsageError(f"{photos} is a recipe already: name a folder, archive, table or URL of photos")
    settings = resolved(photos, base, overrides)
    path = Path(f"{settings.name}.toml")
    if path.exists():
        raise UsageError(f"{path} exists already: move it, or choose another name with --name")
    path.write_text(_recipe_text(settings, base), encoding="utf-8")
    return path


def _recipe_text(settings: Recipe, base: str) -> str:
    """Returns a recipe as TOML: the keys of the base recipe and those that differ from it, with their descriptions."""
    given = tomllib.loads(recipe.find(base).read_text(encoding="utf-8"))
    original = recipe.load(base)
    document = tomlkit.document()
    for line in (
        f"A copy of the recipe {base!r} by `headstand init`. Train by it, or list all keys:",
        "",
        f"  headstand train {settings.name}.toml",
        "  headstand train --help-all",
    ):
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    document.add("name", settings.name)
    document.add("seed", settings.seed)
    if settings.minutes:
        document.add("minutes", settings.minutes)
    for section in type(settings).model_fields:
        model = getattr(settings, section)
        if not isinstance(model, BaseModel):
            continue
        values = model.model_dump(mode="json", exclude_none=True)
        if section == "source":
            kept = {"kind", *model.model_dump(exclude_defaults=True)}
        else:
            other = getattr(original, section)
            kept = {*given.get(section, {}), *(key for key, value in model if value != getattr(other, key))}
        if not kept:
            continue
        table = tomlkit.table()
        for key in [key for key in values if key in kept]:
            for line in textwrap.wrap(type(model).model_fields[key].description or "", 100):
                table.add(tomlkit.comment(line))
            table.add(key, values[key])
        document.add(section, table)
    return tomlkit.dumps(document)

"""Commands that take the keys of a recipe as options, and the keys that their help lists.

This module and `app` import nothing that takes long, so that help and errors appear at once.
"""

import contextlib
import os
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from headstand import HOME
from headstand.cli import command
from headstand.environment import SECTIONS

if TYPE_CHECKING:
    from headstand.recipe import Recipe

click.rich_click.STYLE_COMMANDS_TABLE_COLUMN_WIDTH_RATIO = (1, 5)

SETTINGS = {"help_option_names": ["-h", "--help"]}
"""Settings of the context of every command."""


@dataclass(frozen=True)
class Key:
    """A recipe key in the help of a command.

    Attributes:
        name: the key, such as `head.dropout`.
        values: its values or their unit.
        text: description.
        default: value unless the recipe has another.
        panel: heading of its group.
    """

    name: str
    values: str
    text: str
    default: Any
    panel: str


KEYS = (
    Key("name", "NAME", "of the dataset, the runs and the model", None, "Photos"),
    Key("source", "PHOTOS", "folder, zip, tar, URL, or CSV table", None, "Photos"),
    Key("source.layout", "LAYOUT", "classes, splits, inner or names", "auto", "Photos"),
    Key("split.validation", "SHARE", "for selecting the model", 0.2, "Photos"),
    Key("split.test", "SHARE", "for the reported accuracy", 0.2, "Photos"),
    Key("seed", "N", "of split and training", 1, "Photos"),
    Key("backbone.name", "MODEL", "of keras.applications", "Xception", "Network"),
    Key("backbone.size", "PIXELS", "side of the input", 150, "Network"),
    Key("backbone.weights", "FILE", "or imagenet, none", "imagenet", "Network"),
    Key("head.inner", "UNITS", "of inner layers: 256,128; [] none", (100,), "Training"),
    Key("head.dropout", "RATE", "before the last layer", 0.0, "Training"),
    Key("head.epochs", "N", "of each head", 10, "Training"),
    Key("head.learning_rate", "RATE", "of the head", 0.001, "Training"),
    Key("augmentation.views", "N", "random views of each photo", 0, "Training"),
    Key("search.strategy", "NAME", "staged, grid, tpe or none", "staged", "Training"),
    Key("finetune.epochs", "N", "that train the backbone too", 0, "Training"),
    Key("minutes", "N", "for the run: limits finetune.epochs", None, "Training"),
)
"""The keys that are changed most often."""


quiet = click.option("--quiet", is_flag=True, help="Print only the result.")


class RecipeCommand(click.RichCommand):
    """Command with the options `--section.key VALUE` beside its own; the callback gets them as the list `overrides`.

    Args:
        recipe: the recipe whose values the help shows as defaults.
        shown: keys, and sections whose keys, the help lists.
    """

    def __init__(self, *args: Any, recipe: str, shown: tuple[str, ...] = SECTIONS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in KEYS:
            if key.name not in shown and key.name.partition(".")[0] not in shown:
                continue
            option = click.RichOption(
                # A name of its own, since an argument may have the name of the key.
                [f"--{key.name}", f"key_{key.name.replace('.', '_')}"],
                metavar=key.values,
                help=key.text,
                default=_value(recipe, key),
                show_default=True,
                expose_value=False,
                panel=key.panel,
            )
            self.params.append(option)
        self.params.append(
            click.RichOption(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_print_all_keys(recipe),
                help="Show all keys of a recipe and exit.",
            )
        )  # fmt: skip

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            own, ctx.params["overrides"] = split_keys(args)
            return super().parse_args(ctx, own)
        except click.NoSuchOption as error:
            name = error.option_name.removeprefix("--")
            if keys := [f"--{key.name}" for key in KEYS if key.name.endswith(f".{name}")]:
                raise click.NoSuchOption(error.option_name, possibilities=keys, ctx=ctx) from None
            raise
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


def split_keys(args: list[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments that are no recipe keys, and those that are, with their values.

    Raises:
        click.UsageError: a key has no value, or a section has the value of a key.
    """
    own: list[str] = []
    keys: list[str] = []
    rest = iter(args)
    for argument in rest:
        if argument == "--":
            return [*own, argument, *rest], keys
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or ("." not in name and name not in SECTIONS):
            own.append(argument)
            continue
        if not equals:
            given = next(rest, None)
            if given is None:
                raise click.UsageError(f"{argument} needs a value.")
            value = given
        inside = [f"--{key.name}" for key in KEYS if key.name.startswith(f"{name}.")]
        if inside and name != "source" and not value.startswith("{"):
            raise click.UsageError(f"--{name} {value}: {name} is a section; its keys are {', '.join(inside)}.")
        keys += [f"--{name}", value]
    return own, keys


def searched(settings: "Recipe", overrides: list[str]) -> list[str]:
    """Returns a line for each override of a key that the search sets, and that therefore is only its starting value.

    Keys are set by arguments, the list `overrides`, or by variables such as `HEADSTAND_HEAD__DROPOUT`.
    """
    parameters = {name for job in settings.search.plan for name in job.parameters}
    keys = {f"--head.{'inner' if name in ('layers', 'units') else name}" for name in parameters}
    variables = [
        name.removeprefix("HEADSTAND_").replace("__", ".") for name in os.environ if name.startswith("HEADSTAND_")
    ]
    given = [*overrides[::2], *(f"--{name.lower()}" for name in variables)]
    return [
        f"note: the search chooses {key.removeprefix('--')} from its own values; --search.strategy none keeps yours\n"
        for key in dict.fromkeys(given)
        if key in keys
    ]


def changed(program: Sequence[str], overrides: Sequence[str], changes: Sequence[str]) -> str:
    """Returns a complete command line, in which `changes` replace overrides of the same keys."""
    pairs = zip(overrides[::2], overrides[1::2], strict=True)
    kept = [part for pair in pairs if pair[0] not in changes for part in pair]
    return shlex.join([*program, *kept, *changes])


@contextlib.contextmanager
def silent(quiet: bool) -> Iterator[None]:
    """Discards the output of the block, progress bars too, if `quiet`; errors are exceptions and printed later."""
    if not quiet:
        yield
        return
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _value(recipe: str, key: Key) -> str | None:
    """Returns the value of a key in a recipe, or else its default; None for keys without one."""
    section, _, name = key.name.rpartition(".")
    values = _recipe(recipe)
    value = (values.get(section, {}) if section else values).get(name, key.default)
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else None if value is None else str(value)


@cache
def _recipe(name: str) -> dict[str, Any]:
    values = tomllib.loads((HOME / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key not in ("name", "source")}


def _print_all_keys(recipe: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            from headstand.recipe import load

            load(recipe, ["--help"])

    return callback


def invoke(program: click.Command, name: str, argv: list[str]) -> None:
    """Runs a command with these arguments.

    Args:
        program: the command.
        name: its name in messages.
        argv: the arguments.

    Raises:
        UsageError: an argument is not valid; the message names the most similar one.
        SystemExit: the command ends with another status than 0.
    """
    try:
        status = program.main(argv, name, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        raise command.UsageError(f"{error.format_message()} `{path} --help` lists the arguments") from None
    except click.Abort:
        raise KeyboardInterrupt from None
    if isinstance(status, int) and status:
        raise SystemExit(status)

"""Functions shared by all command-line entry points: recipe arguments, options, error messages and exit codes."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from headstand import environment
from headstand.errors import HeadstandError

DEFAULT_RECIPE = "yoga6"


def recipe_and_rest(argv: list[str]) -> tuple[str, list[str]]:
    """Splits `[RECIPE] [--key value ...]` into the recipe's name, which is optional, and the other arguments."""
    if argv and not argv[0].startswith("-"):
        return argv[0], argv[1:]
    return DEFAULT_RECIPE, argv


class UsageError(HeadstandError):
    """Invalid or contradictory command-line arguments."""


class Parser(argparse.ArgumentParser):
    """Argument parser that raises `UsageError`: one line and exit status 1, as for all errors that users can fix."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(
            prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        if unknown := re.search(r"unrecognized arguments: (--[^\s=]+)", message):
            message += environment.suggestion(unknown[1], self._option_string_actions, prefix="--")
        raise UsageError(f"{message}; `{self.prog} --help` lists the arguments")


def run(main: Callable[[list[str]], None]) -> None:
    """Calls a script's `main` with the command-line arguments and turns exceptions into exit codes.

    0 on success, 1 with one line on standard error for errors that the user can fix (also a full disk and unreadable or
    unwritable files), 130 when interrupted. Any other exception is a bug and is raised.
    """
    try:
        main(sys.argv[1:])
    except HeadstandError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # The reader of the output (`| head`) has closed the pipe, so there is nowhere to print an error.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if not error.strerror:
            raise
        sys.exit(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""))
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to continue", file=sys.stderr)
        sys.exit(130)

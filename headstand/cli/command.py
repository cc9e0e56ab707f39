"""Functions shared by all command-line entry points: recipe arguments, options, error messages and exit codes."""

import sys
from collections.abc import Callable

from headstand.errors import HeadstandError

DEFAULT_RECIPE = "yoga6"


def recipe_and_rest(words: list[str], default: str = DEFAULT_RECIPE) -> tuple[str, list[str]]:
    """Splits `[RECIPE] [--key value ...]` into the recipe's name, which is optional, and the other arguments."""
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    return default, words


def option(words: list[str], name: str, example: str) -> tuple[list[str], str | None]:
    """Removes an option that is not a recipe key, `--name VALUE` or `--name=VALUE`, from the arguments.

    Args:
        words: command-line arguments.
        name: the option with its dashes.
        example: example value for the error message.

    Returns:
        The other arguments, and the option's value, or None if the option is absent.

    Raises:
        HeadstandError: the option has no value.
    """
    for place, word in enumerate(words):
        if word == name or word.startswith(name + "="):
            given = word.partition("=")[2] if "=" in word else next(iter(words[place + 1 :]), "")
            if not given or given.startswith("-"):
                raise HeadstandError(f"{name} needs a value: {example}")
            return words[:place] + words[place + (1 if "=" in word else 2) :], given
    return words, None


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
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)

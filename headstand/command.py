"""What every script shares: how words become a recipe, and how a failure is told to a person."""

import sys
from collections.abc import Callable

from headstand.errors import HeadstandError

DEFAULT_RECIPE = "yoga6"


def recipe_and_rest(words: list[str], default: str = DEFAULT_RECIPE) -> tuple[str, list[str]]:
    """Split `[RECIPE] [--key value ...]`: the recipe's name comes first and may be left out."""
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    return default, words


def option(words: list[str], name: str, example: str) -> tuple[list[str], str | None]:
    """Take an option that is no key of a recipe, `--name VALUE` or `--name=VALUE`, out of the command line.

    Args:
        words: the command line.
        name: with its dashes.
        example: of the value, for who leaves it out.

    Returns:
        The other words, and the value; None where there is no such option.

    Raises:
        HeadstandError: without a value.
    """
    for place, word in enumerate(words):
        if word == name or word.startswith(name + "="):
            given = word.partition("=")[2] if "=" in word else next(iter(words[place + 1 :]), "")
            if not given or given.startswith("-"):
                raise HeadstandError(f"{name} needs a value: {example}")
            return words[:place] + words[place + (1 if "=" in word else 2) :], given
    return words, None


def run(main: Callable[[list[str]], None]) -> None:
    """Call a script's `main` with the command line, and exit.

    0 when it is done, 1 with one line on standard error when something is wrong that the user can mend (a full disk
    and files that cannot be read or written among it), 130 when interrupted. Anything else is our fault and raises.
    """
    try:
        main(sys.argv[1:])
    except HeadstandError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone: nothing to tell it.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if not error.strerror:
            raise
        sys.exit(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)

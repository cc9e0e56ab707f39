"""`python -m headstand`, and the console script `headstand`."""

from importlib.util import find_spec

from headstand.cli import command
from headstand.cli.app import headstand
from headstand.cli.options import invoke
from headstand.errors import HeadstandError


def main(argv: list[str]) -> None:
    """Runs the command that the arguments name.

    Raises:
        HeadstandError: an argument is not valid, the command fails, or it needs packages that are not installed.
    """
    try:
        invoke(headstand, "headstand", argv)
    except ModuleNotFoundError as error:
        if find_spec("tensorflow"):
            raise
        raise HeadstandError(
            f"this command needs packages that are not installed ({error.name}): pip install 'headstand[train]'"
        ) from None


def run() -> None:
    """Runs the console script."""
    command.run(main)


if __name__ == "__main__":
    run()

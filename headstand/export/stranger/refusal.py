"""What is said of a model that cannot be imported."""

from headstand.errors import HeadstandError


class StrangerError(HeadstandError):
    """A model from elsewhere, its labels or the options given with it, that cannot be made into a classifier."""


def shown(value: object) -> str:
    """A name or a value from a file, fit for a terminal: quoted, without control characters, cut to 60 characters."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

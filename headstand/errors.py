"""The one exception that people are meant to read."""


class HeadstandError(Exception):
    """Something the user can mend: the message names the thing, the value and the way out.

    The scripts print it as one line and exit with 1; it never carries a traceback to a person.
    """

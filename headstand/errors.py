"""Base class of all errors that are shown to users."""


class HeadstandError(Exception):
    """Error that the user can fix: the message states what is wrong, the value and the remedy.

    The scripts print it as one line without a traceback and exit with status 1.
    """

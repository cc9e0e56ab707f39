"""Base class of all errors that are shown to users."""


class HeadstandError(Exception):
    """Error that the user can fix: the message states what is wrong, the value and the remedy.

    The scripts print it as one line without a traceback and exit with status 1.
    """


class ClientError(HeadstandError):
    """Error that the services report to a client, with a stable `code`, a key of `serve.problem.KINDS`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ImageError(ClientError):
    """Error for an unusable image. `code` is `not_an_image`, `too_large` or `corrupt_image`."""

"""Base class of all errors that are shown to users."""


class HeadstandError(Exception):
    """Error that the user can fix: the message states what is wrong, the value and the remedy.

    The scripts print it as one line without a traceback and exit with status 1.
    """


class ImageError(HeadstandError):
    """Error for an unusable image. `code` is stable: `not_an_image`, `too_large`, `corrupt_image`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

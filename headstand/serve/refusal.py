"""Why a URL gives no image, in words that give nothing away."""

from headstand.errors import HeadstandError

FORBIDDEN = "the URL's host does not have public addresses only"


class DownloadError(HeadstandError):
    """A URL that gives no image.

    `code` is stable: `bad_url`, `forbidden_address`, `download_failed`, `download_timeout`, `download_too_large`,
    `http_error`, `too_many_redirects`. The message never tells an address or what lies behind it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

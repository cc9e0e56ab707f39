"""Error for a failed or forbidden download, without details of the network."""

from headstand.errors import HeadstandError

FORBIDDEN = "the URL's host does not have public addresses only"


class DownloadError(HeadstandError):
    """Error for a URL from which no image can be downloaded.

    `code` is stable: `bad_url`, `forbidden_address`, `download_failed`, `download_timeout`, `download_too_large`,
    `http_error`, `too_many_redirects`. The message never contains an address or details of the network.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

"""Converts errors of AWS clients to messages; their texts can contain signed headers, so only codes are quoted."""

from collections.abc import Iterator

_REFUSED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError"}
_LOGIN = {"CredentialRetrievalError", "TokenRetrievalError", "SSOError"}
_CONFIGURATION = {"ProfileNotFound", "ConfigParseError", "ConfigNotFound"}
_CONNECTION = {"BotoCoreError", "ClientPayloadError", "HTTPClientError"}


def code(error: BaseException) -> str:
    """Returns AWS's error code, such as "NoSuchBucket", of an error or of what caused it; empty if it has none."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def credentials(error: BaseException) -> str | None:
    """Returns what is wrong with the user's AWS credentials or configuration and the remedy; None for other errors."""
    if code(error) in _REFUSED_CREDENTIALS:
        return f"AWS refuses the credentials ({code(error)}): renew them, or choose others with AWS_PROFILE"
    for one in _chain(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        if names & _NO_CREDENTIALS:
            return "AWS credentials are missing: set AWS_PROFILE or run `aws configure`"
        if names & _LOGIN:
            return f"AWS credentials cannot be obtained ({type(one).__name__}): log in again (`aws sso login`)"
        if names & _CONFIGURATION:
            return f"the AWS configuration cannot be used: {str(one).splitlines()[0]}"
        if "NoRegionError" in names:
            return "AWS needs a region: set AWS_REGION, or run `aws configure`"
        if isinstance(one, ValueError) and "endpoint" in str(one).lower():
            return "the endpoint is not a URL: check AWS_ENDPOINT_URL"
    return None


def disconnected(error: BaseException) -> bool:
    """Returns whether the network or the server failed, so that a later attempt may succeed."""
    known = code(error)
    if known:
        return known in (
            "500",
            "502",
            "503",
            "504",
            "InternalError",
            "RequestTimeout",
            "ServiceUnavailable",
            "SlowDown",
        )
    return any({kind.__name__ for kind in type(one).__mro__} & _CONNECTION for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and its causes or contexts, without cycles."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    yield from found

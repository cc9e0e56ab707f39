"""Creates AWS clients, validates requests and converts AWS errors to messages."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from headstand.errors import HeadstandError
from headstand.storage import aws_errors

Request = dict[str, Any]
"""Arguments of one API call, by AWS's names."""


_MISSING = 'SageMaker needs the package boto3, of the category aws: `pipenv sync --categories "packages aws"`'


class CloudError(HeadstandError):
    """AWS refuses a request, or a request is not valid."""


def client() -> Any:
    """Returns a boto3 client with the region and credentials of the AWS tools (`AWS_PROFILE`, `AWS_REGION`, ...).

    Raises:
        CloudError: boto3 is not installed, or there is no region.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise CloudError(_MISSING) from None
    with translated_errors("SageMaker"):
        return boto3.Session().client("sagemaker", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))


def check(operation: str, request: Mapping[str, Any]) -> None:
    """Validates a SageMaker request locally against botocore's description of the call.

    Args:
        operation: such as `CreateTrainingJob`.
        request: its arguments.

    Raises:
        CloudError: an argument is missing, unknown or of another type.
    """
    try:
        from botocore.validate import ParamValidator

        shape = _service_model().operation_model(operation).input_shape
    except ImportError:
        raise CloudError(_MISSING) from None
    report = ParamValidator().validate(dict(request), shape)
    if report.has_errors():
        raise CloudError(f"{operation}: {' '.join(report.generate_report().split())}")


@functools.cache
def _service_model() -> Any:
    """Returns botocore's description of SageMaker, whose file of several megabytes takes long to read."""
    import botocore.session

    return botocore.session.get_session().get_service_model("sagemaker")


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Converts boto3's exceptions in the block to one message.

    Args:
        what: description of the request, for the message.

    Raises:
        CloudError: in place of boto3's errors. Only the service's message about the request is quoted; other errors may
            contain signed headers, so only their type is quoted.
    """
    try:
        yield
    except HeadstandError:
        raise
    except Exception as error:
        message = _message(error, what)
        if message is None:
            raise
        raise CloudError(message) from None


def _message(error: Exception, what: str) -> str | None:
    """Returns the error message; None for errors that are not boto3's."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        details = error.response.get("Error", {})
        code, text = str(details.get("Code", "")), " ".join(str(details.get("Message", "")).split())
        if code in ("AccessDeniedException", "AccessDenied"):
            return f"AWS refuses {what} to these credentials; docs/sagemaker.md has the policy they need: {text[:600]}"
        if code in ("ResourceLimitExceeded", "ResourceLimitExceededException"):
            return f"the account's quota is too small for {what}; Service Quotas raises it: {text[:600]}"
        return aws_errors.credentials(error) or f"AWS refuses {what} ({code}): {text[:600]}"
    if reason := aws_errors.credentials(error):
        return reason
    if isinstance(error, boto.ParamValidationError):
        return f"{what}: {' '.join(str(error).split())}"
    if isinstance(error, boto.BotoCoreError):
        return f"AWS cannot be reached for {what} ({type(error).__name__}): try again"
    return None

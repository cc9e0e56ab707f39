import builtins
from typing import Any

import botocore.exceptions as boto
import pytest

from headstand.errors import HeadstandError
from headstand.scale.sagemaker import account
from headstand.scale.sagemaker.account import CloudError

SECRET = "wJalrXUtnFEMIsecret"


def refusal(code: str, text: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": text}}, "CreateTrainingJob")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal("AccessDeniedException", "not authorized to perform: sagemaker:X"), "policy they need.*sagemaker:X"),
        (refusal("ResourceLimitExceeded", "limit is 0"), "quota is too small for the job.*limit is 0"),
        (refusal("ExpiredTokenException", SECRET), r"renew them, or choose others with AWS_PROFILE$"),
        (refusal("ValidationException", "No S3 objects\nfound"), r"refuses the job \(ValidationException\): No S3 obj"),
        (boto.NoCredentialsError(), "AWS credentials are missing"),
        (boto.NoRegionError(), "needs a region"),
        (boto.ProfileNotFound(profile="x"), r"cannot be used.*\(x\)"),
        (boto.ParamValidationError(report="Missing X\nMissing Y"), "the job: .*Missing X Missing Y"),
        (boto.EndpointConnectionError(endpoint_url=f"http://{SECRET}"), r"cannot be reached for the job \(Endpoint"),
    ],
)
def test_aws_errors_are_a_sentence_without_what_was_signed(error: Exception, message: str) -> None:
    with pytest.raises(CloudError, match=message) as raised:
        with account.translated_errors("the job"):
            raise error
    assert SECRET not in str(raised.value) and "\n" not in str(raised.value)


def test_other_errors_pass() -> None:
    for error in (HeadstandError("ours"), ZeroDivisionError("fault")):
        with pytest.raises(type(error), match=str(error)):
            with account.translated_errors("the job"):
                raise error


def test_a_request_is_held_against_awss_description() -> None:
    account.check("DeleteModel", {"ModelName": "a"})
    with pytest.raises(CloudError, match=r"DeleteModel: .*Missing required parameter.*ModelName"):
        account.check("DeleteModel", {})
    with pytest.raises(CloudError, match=r'Unknown parameter in input: "Colour"'):
        account.check("DeleteModel", {"ModelName": "a", "Colour": "red"})


def test_without_boto3_the_category_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for ask in (account.client, lambda: account.check("DeleteModel", {})):
        with pytest.raises(CloudError, match=r'of the category aws: `pipenv sync --categories "packages aws"`'):
            ask()


def test_without_a_region_it_is_said(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(CloudError, match="AWS_REGION"):
        account.client()

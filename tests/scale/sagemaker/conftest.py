"""An account on a stand-in for AWS on loopback."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests

from tests.preparation.conftest import s3_account, s3_server  # noqa: F401 - fixtures


@pytest.fixture
def client(s3_account: None, s3_server: str) -> Iterator[Any]:  # noqa: F811
    result = boto3.client("sagemaker")
    yield result
    result.close()
    requests.post(f"{s3_server}/moto-api/reset", timeout=10).raise_for_status()

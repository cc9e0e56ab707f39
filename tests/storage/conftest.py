"""A bucket on the stand-in for S3."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.preparation.conftest import s3_account, s3_server

__all__ = ["s3_account", "s3_server"]

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")


@pytest.fixture
def bucket(s3_account: None, s3_server: str) -> Iterator[Any]:
    """The client; the bucket is `photos`."""
    requests.post(f"{s3_server}/moto-api/reset", timeout=10).raise_for_status()
    with contextlib.closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="photos")
        yield client


def keys(client: Any) -> list[str]:
    """All that lies in the bucket."""
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="photos").get("Contents", [])]

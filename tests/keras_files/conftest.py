import pytest


@pytest.fixture
def reader_process() -> None:
    """Files are read as for users, by a process of its own."""

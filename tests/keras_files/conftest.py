import pytest


@pytest.fixture
def reader_process() -> None:
    """Files are read in a separate process, as for users."""

import pytest

from tests.keras_files import files


@pytest.fixture
def reader_process() -> None:
    """Files are read in a separate process, as for users."""


@pytest.fixture(scope="session")
def saved_classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The file of `files.classifier()` by suffix; building and saving it takes longer than most tests."""
    model, folder = files.classifier(), tmp_path_factory.mktemp("saved")
    return {suffix: files.saved(model, folder / f"m{suffix}").read_bytes() for suffix in (".h5", ".keras")}

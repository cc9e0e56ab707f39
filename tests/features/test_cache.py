from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstand.features.cache import KEY_BYTES, FeatureCache, FeatureTable
from headstand.files import cache

WIDTH = 3
RECORD = KEY_BYTES + 4 * WIDTH + 4


def key(number: int) -> bytes:
    # Zero bytes at the end too: they must not be lost.
    return number.to_bytes(4, "big") + bytes(KEY_BYTES - 4)


def row(number: int) -> list[float]:
    return [number, number + 0.5, -number]


def fill(folder: Path, numbers: list[int]) -> FeatureCache:
    cache = FeatureCache(folder, WIDTH)
    cache.append([key(number) for number in numbers], np.array([row(number) for number in numbers], np.float32))
    return cache


def ask(cache: FeatureCache, numbers: list[int]) -> tuple[np.ndarray, list[int]]:
    into = np.full((len(numbers), WIDTH), np.nan, np.float32)
    return into, cache.read([key(number) for number in numbers], into)


def test_missing_positions_refer_to_the_given_keys(tmp_path: Path) -> None:
    into, missing = ask(fill(tmp_path, [5, 7]), [9, 7, 8, 5])
    assert missing == [0, 2]
    assert into[1].tolist() == row(7)
    assert into[3].tolist() == row(5)
    assert np.isnan(into[[0, 2]]).all()


def test_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert ask(FeatureCache(tmp_path / "new", WIDTH), [1, 2])[1] == [0, 1]
    assert (tmp_path / "new").is_dir()


rows = st.lists(st.floats(width=32, allow_nan=False), min_size=WIDTH, max_size=WIDTH)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.dictionaries(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), rows, max_size=4), max_size=4),
    other=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES),
)
def test_appended_rows_are_read(
    tmp_path_factory: pytest.TempPathFactory, batches: list[dict[bytes, list[float]]], other: bytes
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache, known = FeatureCache(folder, WIDTH), {}
    for batch in batches:
        # A key has one row for ever: it names the image and the network.
        fresh = {name: values for name, values in batch.items() if name not in known}
        cache.append(list(fresh), np.array(list(fresh.values()), np.float32).reshape(-1, WIDTH))
        known.update(fresh)
    for opened in (cache, FeatureCache(folder, WIDTH)):
        into = np.empty((len(known), WIDTH), np.float32)
        assert opened.read(list(known), into) == []
        assert into.tolist() == [list(values) for values in known.values()]
        if other not in known:
            assert opened.read([other], np.empty((1, WIDTH), np.float32)) == [0]


@pytest.mark.parametrize("lost", [1, 10, RECORD - 1])
def test_truncated_file_loses_its_last_record_only(tmp_path: Path, lost: int) -> None:
    fill(tmp_path, [1, 2, 3])
    (file,) = tmp_path.glob("*.rows")
    file.write_bytes(file.read_bytes()[:-lost])
    cache = FeatureCache(tmp_path, WIDTH)
    into, missing = ask(cache, [1, 2, 3])
    assert missing == [2]
    assert into[:2].tolist() == [row(1), row(2)]
    # What is appended next is whole, though the file ends in half a record.
    cache.append([key(3)], np.array([row(3)], np.float32))
    assert ask(FeatureCache(tmp_path, WIDTH), [1, 2, 3])[1] == []


def test_flipped_bit_is_a_miss(tmp_path: Path) -> None:
    fill(tmp_path, [1, 2])
    (file,) = tmp_path.glob("*.rows")
    for index in range(RECORD):
        data = bytearray(file.read_bytes())
        data[RECORD + index] ^= 0x10
        file.write_bytes(data)
        into, missing = ask(FeatureCache(tmp_path, WIDTH), [1, 2])
        assert missing == [1], index
        assert into[0].tolist() == row(1)
        data[RECORD + index] ^= 0x10
        file.write_bytes(data)


@pytest.mark.parametrize("damaged_name", ["0.rows", "z.rows"])
def test_recomputed_record_is_found_before_and_after_the_damaged_one(tmp_path: Path, damaged_name: str) -> None:
    fill(tmp_path, [1])
    (file,) = tmp_path.glob("*.rows")
    data = bytearray(file.read_bytes())
    data[KEY_BYTES] ^= 1
    file.unlink()
    (tmp_path / damaged_name).write_bytes(data)
    cache = FeatureCache(tmp_path, WIDTH)
    assert ask(cache, [1])[1] == [0]
    cache.append([key(1)], np.array([row(1)], np.float32))
    for opened in (cache, FeatureCache(tmp_path, WIDTH)):
        into, missing = ask(opened, [1])
        assert (into.tolist(), missing) == ([row(1)], [])


def test_two_writers_use_different_files(tmp_path: Path) -> None:
    first, second = FeatureCache(tmp_path, WIDTH), FeatureCache(tmp_path, WIDTH)
    for number in range(0, 6, 2):
        first.append([key(number)], np.array([row(number)], np.float32))
        second.append([key(number + 1)], np.array([row(number + 1)], np.float32))
    assert ask(first, [0, 1])[1] == [1]
    into, missing = ask(FeatureCache(tmp_path, WIDTH), list(range(6)))
    assert missing == []
    assert into.tolist() == [row(number) for number in range(6)]


def test_rows_after_a_failed_write_are_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fill(tmp_path, [1])
    real = Path.open

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[:7])
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "open", lambda self, mode: Full(real(self, mode)))
        cache.append([key(2)], np.array([row(2)], np.float32))
    assert ask(cache, [1, 2])[1] == [1]
    cache.append([key(2), key(3)], np.array([row(2), row(3)], np.float32))
    into, missing = ask(FeatureCache(tmp_path, WIDTH), [1, 2, 3])
    assert missing == []
    assert into.tolist() == [row(1), row(2), row(3)]


def test_cache_folder_is_relative_unless_configured(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache() == Path(".cache/headstand")
    monkeypatch.setenv("HEADSTAND_CACHE", "elsewhere")
    assert cache() == Path("elsewhere")


def test_rows_written_in_any_order_are_read_back_after_closing(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    with FeatureTable(tmp_path, 5, 4) as rows:
        rows.write(3, values[3:])
        rows.write(0, values[:3].astype(np.float64))
        table = rows.mapped()
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, values)
    assert not list(tmp_path.iterdir())


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    with FeatureTable(tmp_path, 0, 4) as rows:
        assert rows.mapped().shape == (0, 4)

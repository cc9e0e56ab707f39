import io
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.poses.heatmap_file import HeatmapError, decode

SHAPE = (1, 17, 64, 48)


@pytest.mark.parametrize("batch", [(1,), ()])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_of_one_person_are_returned_unchanged(tmp_path, batch, order):
    values = np.random.default_rng(0).normal(size=(*batch, 17, 64, 48)).astype(np.float32)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    for found in (decode(tmp_path / "a.npy"), decode((tmp_path / "a.npy").read_bytes())):
        assert (found.shape, found.dtype) == ((17, 64, 48), np.float32)
        np.testing.assert_array_equal(found, values.reshape(17, 64, 48))


def test_reads_the_second_version_of_the_format_and_reports_a_missing_file(tmp_path):
    values = np.ones(SHAPE, np.float32)
    with (tmp_path / "2.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0))
    np.testing.assert_array_equal(decode(tmp_path / "2.npy"), values[0])
    with pytest.raises(HeatmapError, match=r"cannot read .*none\.npy: No such file"):
        decode(tmp_path / "none.npy")


class Malicious:
    def __reduce__(self):
        return (Path("sprung").touch, ())


def saved(values: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, values, allow_pickle=True)
    return data.getvalue()


def with_header(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


GOOD = saved(np.zeros(SHAPE, np.float32))

BAD = {
    "empty": (b"", "not a NumPy array file"),
    "text": (b"not an array", "not a NumPy array file"),
    "a zip": (b"PK\x03\x04" + bytes(100), "not a NumPy array file"),
    "a pickle": (pickle.dumps(Malicious()), "not a NumPy array file"),
    "objects": (saved(np.array([Malicious()], dtype=object)), r"its dtype is \|O, not <f4"),
    "double precision": (saved(np.zeros(SHAPE)), "its dtype is <f8, not <f4"),
    "big-endian": (saved(np.zeros(SHAPE, ">f4")), "its dtype is >f4, not <f4"),
    "two persons": (
        saved(np.zeros((2, 17, 64, 48), np.float32)),
        r"its shape is \[2, 17, 64, 48\], not \[1, 17, 64, 48\]",
    ),
    "not a number": (saved(np.full((1, 17, 64, 48), np.nan, np.float32)), "52,224 of its values"),
    "too few joints": (saved(np.zeros((1, 16, 64, 48), np.float32)), r"its shape is \[1, 16, 64, 48\]"),
    "cut short": (GOOD[:-1], "208,895 bytes of values, not 208,896: it is truncated"),
    "too long": (GOOD + b"\0", "208,897 bytes of values"),
    "no numbers": (GOOD[:128], "0 bytes of values"),
    "huge": (GOOD + bytes(2**20), "over 1,048,576 bytes; heatmaps have 208,896"),
    "a header that calls": (with_header("__import__('pathlib').Path('sprung').touch()"), "header is damaged"),
    "a deep header": (with_header("-" * 9000 + "1"), "header is damaged"),
    "brackets": (with_header("(" * 9000), "header is damaged"),
    "an endless shape": (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1e9,)}"), "header is damaged"),
    "format 3": (b"\x93NUMPY\x03\x00" + GOOD[8:], "not a NumPy array file"),
}


CODES = {
    "cut short": "corrupt_heatmaps", "too long": "corrupt_heatmaps", "no numbers": "corrupt_heatmaps",
    "not a number": "corrupt_heatmaps", "huge": "too_large",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_invalid_heatmaps_are_refused_with_the_reason(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data, message = BAD[name]
    with pytest.raises(HeatmapError, match=message) as excinfo:
        decode(data)
    assert excinfo.value.code == CODES.get(name, "not_heatmaps")
    assert not Path("sprung").exists()


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.integers(0, 140), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_header_is_refused_or_harmless(changes):
    data = bytearray(GOOD)
    for offset, byte in changes.items():
        data[offset] = byte
    try:
        values = decode(bytes(data))
    except HeatmapError:
        return
    assert (values.shape, values.dtype) == ((17, 64, 48), np.float32)


def test_headers_of_numpy_and_other_writers_are_read():
    body = GOOD[128:]
    for header in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 17, 64, 48), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (17, 64, 48)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 17L, 64L, 48L), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1,17,64,48), }  ",
    ):
        assert decode(with_header(header, body)).shape == (17, 64, 48), header


def test_threads_read_concurrently():
    with ThreadPoolExecutor(16) as pool:
        assert sum(maps.shape == (17, 64, 48) for maps in pool.map(decode, [GOOD] * 2000)) == 2000

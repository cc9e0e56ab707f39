import contextlib
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headstand.preparation.sources import unpickle
from headstand.preparation.sources.unpickle import UnpickleError, load

PLAIN = {
    "data": np.arange(24, dtype=np.uint8).reshape(2, 12),
    "labels": [0, 1, 255, 256, 70_000, -1],
    "names": ["a", "ä", "x" * 300],
    "bytes": [b"\x00\xff", b"y" * 300],
    "more": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
}

PYTHON_2 = (  # as cPickle of Python 2 with NumPy 1.6 writes {"data": array([[1, 2, 3]], uint8), "labels": [7, 300]}
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq"
    b"\x05(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
    b"\xffK\x00tb\x89U\x03\x01\x02\x03tbU\x06labelsq\x08]q\x09(K\x07M\x2c\x01eu."
)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)
        else:
            assert found[key] == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_plain_data_and_arrays_of_every_protocol(protocol):
    assert_same(load(pickle.dumps(PLAIN, protocol), "it"), PLAIN)


def test_reads_what_python_2_wrote():
    assert_same(load(PYTHON_2, "it"), {"data": np.array([[1, 2, 3]], np.uint8), "labels": [7, 300]})


def test_reads_the_names_of_old_numpy():
    new = pickle.dumps(PLAIN, 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    assert_same(load(old, "it"), PLAIN)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<u2", "i1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_keep_type_byte_order_and_layout(protocol, dtype, order):
    values = np.asarray(np.arange(12).reshape(3, 4), dtype=dtype, order=order)
    found = load(pickle.dumps({"a": values}, protocol), "it")["a"]
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert not found.flags.writeable


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path):
    target = tmp_path / "created"
    for protocol in (2, 4):
        data = pickle.dumps({"data": Calls(os.mkdir, str(target))}, protocol)
        with pytest.raises(UnpickleError, match=r"asks for 'posix\.mkdir'.*not run, and you should not trust it"):
            load(data, "train")
        assert not target.exists()
    pickle.loads(data)  # unpickling really runs it
    assert target.exists()


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("builtins eval", "1"),
        ("builtins getattr", "1"),
        ("numpy.core.multiarray _reconstruct.__globals__", "1"),
        ("numpy dtype.type", "1"),
        ("numpy load", "1"),
        ("numpy f2py", "1"),
        ("_codecs decode", "1"),
        ("_codecs lookup", "1"),
        ("headstand.preparation.sources.unpickle load", "1"),
    ],
)
def test_every_other_name_is_refused(name, argument):
    module, attribute = name.split()
    plain = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"X\x01\x00\x00\x001\x85R."
    stacked = b"\x80\x04" + text(module) + text(attribute) + b"\x93\x8c\x011\x85R."
    for data in (plain, stacked):
        with pytest.raises(UnpickleError, match="asks for"):
            load(data, "it")


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def global_name(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


ENCODE, NDARRAY, DTYPE = global_name("_codecs encode"), global_name("numpy ndarray"), global_name("numpy dtype")
RECONSTRUCT = global_name("numpy.core.multiarray _reconstruct")


@pytest.mark.parametrize(
    "program",
    [
        ENCODE + text("a") + text("rot13") + b"\x86R",  # a codec is imported by its name
        ENCODE + text("a") + text("../evil") + b"\x86R",
        ENCODE + b"K\x01" + text("latin1") + b"\x86R",
        NDARRAY + b"J\xff\xff\xff\x7f\x85\x85R",  # two billion numbers
        RECONSTRUCT + NDARRAY + b"\x85R" + b"}b",  # a state that is none
        RECONSTRUCT + RECONSTRUCT + b"K\x00\x85U\x01b\x87R",
        DTYPE + text("O8") + b"\x85R",  # objects
        DTYPE + text("V1000000") + b"\x85R",
        DTYPE + text("u1") + b"\x85R(K\x03U\x01|K\x01NNt" + b"b",  # a structure
        ENCODE + b"}U\x08__code__NsU\x01a\x86b",  # what would change a function
        NDARRAY + b"}b",
        b"]}b",
        b"]K\x01\x85R",
        b"(cos\nsystem\no",
        b"(S'echo'\nios\nsystem\n",
        b"P1\n",
        b"\x82\x01",
        b"K\x01\x81",
    ],
)
def test_the_allowed_names_only_build_arrays_and_bytes(program):
    with pytest.raises(UnpickleError):
        load(b"\x80\x04}" + text("data") + program + b"s.", "it")


def test_a_text_that_is_encoded_again_and_again_is_refused():
    once = ENCODE + b"h\x00" + text("latin1") + b"\x86R"
    big = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000 + b"q\x00"
    assert load(b"\x80\x04}" + text("k") + big + b"\x85" + b"s" + b".", "it") == {"k": ("a" * 10_000,)}
    with pytest.raises(UnpickleError, match="more of its bytes than there are"):
        load(b"\x80\x04}" + text("k") + b"(" + big + once * 3 + b"ts.", "it")


def test_a_large_memo_index_takes_no_memory():
    """Python's own unpickler fills 64 GB for it."""
    for data in (b"\x80\x02}r\xff\xff\xff\xff.", b"\x80\x02}r\x00\x00\x20\x00."):
        with pytest.raises(UnpickleError, match=r"numbers an object .*, and has fewer instructions"):
            load(data, "it")
    assert load(b"\x80\x02}r\x00\x00\x08\x00.", "it") == {}


@pytest.mark.parametrize("length", [2**31 - 1, 2**40, 2**63 - 1])
def test_a_declared_length_without_data_takes_no_memory(length):
    with pytest.raises(UnpickleError, match="damaged or cut short"):
        load(b"\x80\x04}" + text("k") + b"\x8e" + struct.pack("<Q", length) + b"abc", "it")


def test_an_array_has_the_bytes_that_its_shape_needs():
    data = pickle.dumps({"a": np.zeros((2, 3), np.uint8)}, 2)
    assert load(data, "it")["a"].shape == (2, 3)
    for sizes in (b"K\x02K\x04", b"K\x01K\x03", b"K\x00K\x03", b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff"):
        changed = data.replace(b"K\x02K\x03", sizes)
        assert changed != data
        with pytest.raises(UnpickleError, match="damaged or cut short"):
            load(changed, "it")


def test_nested_without_end_is_read_at_once():
    """Tuples of tuples, each twice in the next: as a key they would be hashed 2**60 times."""
    nest = text("a") + b"q\x00h\x00\x86" * 60
    for program in (b"X\x01\x00\x00\x00k" + nest + b"s.", nest + b"K\x01s."):
        with pytest.raises(UnpickleError, match="uses a tuple twice"):
            load(b"\x80\x02}" + program, "it")
    deep = b")" + b"\x85" * 200_000
    for program in (b"X\x01\x00\x00\x00k" + deep + b"s.", deep + b"K\x01s."):
        with pytest.raises(UnpickleError, match="more than 1,000 tuples"):
            load(b"\x80\x02}" + program, "it")
    assert isinstance(load(b"\x80\x02}X\x01\x00\x00\x00k)" + b"\x85" * 999 + b"s.", "it")["k"], tuple)


def test_depth_cannot_hide_among_calls():
    step = ENCODE + text("a") + text("latin1") + b"\x86R\x86"
    assert load(b"\x80\x04}" + text("k") + b")" + step * 900 + b"s.", "it")["k"][1] == b"a"
    with pytest.raises(UnpickleError, match="more than 1,000 tuples"):
        load(b"\x80\x04}" + b")" + step * 1001 + b"K\x01s.", "it")


def test_many_bytes_of_protocol_2_are_read():
    names = [f"{number}.png".encode() for number in range(3000)]
    assert load(pickle.dumps({"filenames": names}, 2), "it") == {"filenames": names}


@pytest.mark.parametrize("between", [b"\x80\x02", b"q\x01", b"(e", b"(u", b"h\x01"])
def test_a_tuple_cannot_be_numbered_in_disguise(between):
    """What leaves a tuple on top of the stack hides from a look at the last instruction that it is one."""
    nest = b"K\x01" + (b"h\x00h\x00\x86" + between + b"q\x00") * 40
    with pytest.raises(UnpickleError, match="numbers an object that is not new"):
        load(b"\x80\x02}]q\x00q\x01" + nest + b"K\x01s.", "it")


def test_numbers_that_collide_in_a_dictionary_are_refused():
    """Multiples of 2**61 - 1 have one hash: a dictionary of 300,000 would take hours."""
    items = {number * (2**61 - 1): 0 for number in range(3)}
    with pytest.raises(UnpickleError, match="a whole number of more than 61 bits"):
        load(pickle.dumps({"a": items}, 2), "it")
    assert load(pickle.dumps({"a": [2**61 - 2, 2 - 2**61]}, 2), "it") == {"a": [2**61 - 2, 2 - 2**61]}


def test_many_arrays_of_the_same_bytes_are_views():
    raw = text("raw") + b"\x96" + struct.pack("<Q", 10_000) + bytes(10_000) + b"\x94"
    array = (
        global_name("numpy.core.numeric _frombuffer")
        + b"(h\x00"
        + DTYPE
        + text("u1")
        + b"\x85RM\x10\x27\x85"
        + text("C")
        + b"tR"
    )
    items = b"".join(text(f"k{number}") + array for number in range(20))
    found = load(b"\x80\x05}(" + raw + items + b"u.", "it")
    assert all(np.shares_memory(found["k0"], found[f"k{number}"]) for number in range(20))
    assert not found["k0"].flags.writeable


def test_too_many_instructions_and_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_STEPS", 100)
    assert load(pickle.dumps({"a": [1] * 40}, 2), "it")
    with pytest.raises(UnpickleError, match="more than 100 instructions"):
        load(pickle.dumps({"a": [1] * 120}, 2), "it")
    monkeypatch.setattr(unpickle, "MAX_BYTES", 50)
    with pytest.raises(UnpickleError, match="more than 50 bytes"):
        load(pickle.dumps({"a": [1] * 60}, 2), "it")


@pytest.mark.parametrize("value", [[1, 2], "text", None, 7, np.zeros(3, np.uint8)])
def test_only_a_dictionary_is_taken(value):
    with pytest.raises(UnpickleError, match="no dictionary"):
        load(pickle.dumps(value, 2), "it")


@pytest.mark.parametrize("value", [1.5, {1, 2}, np.zeros(2, np.float32), np.array(["a"]), np.array([None]), 1j])
def test_instructions_that_arrays_do_not_need_are_refused(value):
    with pytest.raises(UnpickleError):
        load(pickle.dumps({"a": value}, 4), "it")


@given(st.binary(max_size=200))
@example(b"c\\\0\n")  # a name with an escape that is none, cut short
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(UnpickleError):
        load(data, "it")


@given(st.data(), st.sampled_from([2, 4, 5]))
def test_any_damage_is_read_or_refused(data, protocol):
    encoded = bytearray(pickle.dumps(PLAIN, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnpickleError):
        load(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]), "it")


def test_each_allowed_instruction_exists():
    known = {opcode.name for opcode in pickletools.opcodes}
    assert known >= unpickle._OPCODES
    assert not unpickle._OPCODES & {
        "DUP",
        "POP",
        "LONG4",
        "EMPTY_SET",
        "FROZENSET",
        "DICT",
        "LIST",
        "PUT",
        "GET",
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "PERSID",
        "BINPERSID",
        "EXT1",
        "EXT2",
    }


def test_reads_a_file_and_names_it_in_a_complaint(tmp_path: Path):
    path = tmp_path / "meta"
    buffer = io.BytesIO()
    pickle.dump({"names": ["a"]}, buffer)
    path.write_bytes(buffer.getvalue())
    assert unpickle.read(path) == {"names": ["a"]}
    path.write_bytes(buffer.getvalue()[:-3])
    with pytest.raises(UnpickleError, match=f"{path} is no pickle, damaged or cut short"):
        unpickle.read(path)
    with pytest.raises(UnpickleError, match=r"cannot read .*nothing: No such file"):
        unpickle.read(tmp_path / "nothing")

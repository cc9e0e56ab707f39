"""Safe reader of untrusted pickles of plain data and NumPy arrays of integers, such as CIFAR's.

A pickle is a program that can call any function by name. Two measures make it safe here. `find_class` accepts only the
five functions and classes that arrays and bytes are pickled with, and returns substitutes, which create nothing but
views of the pickle's bytes. Before the unpickler runs, `_check` parses the instructions, and refuses those that plain
data does not need and those that would take memory or time out of proportion to the file.
"""

import math
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from headstand.errors import HeadstandError

MAX_BYTES = 256 * 2**20
"""Maximum size of a pickle in bytes; the largest of CIFAR-100 has 155 million."""

MAX_STEPS = 1_000_000
"""Maximum number of instructions. CIFAR-100's `train` has 400,000 at most; each can take 200 bytes of memory."""

MAX_TUPLES = 1000
"""Maximum number of tuples other than the arguments of calls; an array has four. With deeper nesting, hashing a tuple
would overflow Python's stack."""

_TUPLES = {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}

_PUTS, _GETS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"BINGET", "LONG_BINGET"}

_MEMOISED = _TUPLES | {
    "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "SHORT_BINSTRING",
    "BINSTRING", "EMPTY_LIST", "EMPTY_DICT", "GLOBAL", "STACK_GLOBAL", "REDUCE",
}  # fmt: skip
"""Instructions that create an object; an instruction that stores it in the memo may follow directly."""

_OPCODES = _MEMOISED | _PUTS | _GETS | {
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "APPEND",
    "APPENDS", "SETITEM", "SETITEMS", "BUILD",
}  # fmt: skip
"""Instructions that dictionaries, lists, tuples, integers, strings, bytes and arrays need."""


_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError)


class UnpickleError(HeadstandError):
    """Raised for a pickle that is damaged, too large, or holds more than plain data."""


class _ForbiddenError(Exception):
    """Raised for pickle content that plain data does not need."""


class _StatelessCallable:
    """Substitute for a function or class that a pickle names, without state that a pickle could set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _ForbiddenError("sets the state of a function")


class _Dtype:
    """Substitute for `numpy.dtype`, restricted to integers."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not re.fullmatch("[iu][1248]", text):
            raise _ForbiddenError("has an array of something else than integers")
        self._code, self._order = text, "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "=", b"<", b">", b"|", b"=") or any(part is not None for part in state[2:5]):
            raise _ForbiddenError("has an array of something else than integers")
        self._order = ">" if order in (">", b">") else "<"

    def array(self, shape: Any, fortran: Any, raw: Any) -> np.ndarray:
        """Returns a read-only view of `raw` as an array.

        Raises:
            ValueError: `raw` does not have exactly the bytes that the shape needs, or an argument is invalid.
        """
        dtype = np.dtype(self._order + self._code)
        if not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple) or len(shape) > 8:
            raise ValueError("no array")
        if not all(type(side) is int and 0 <= side <= len(raw) for side in shape):
            raise ValueError("no shape")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError("more or fewer bytes than the shape needs")
        values = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
        values.flags.writeable = False
        return values


class _Array:
    """Substitute for an array whose values are set by a later instruction."""

    __slots__ = ("values",)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.values: np.ndarray = _dtype(dtype).array(shape, fortran, raw)


def _dtype(value: Any) -> _Dtype:
    if not isinstance(value, _Dtype):
        raise ValueError("no data type")
    return value


def _refuse(*_: object) -> None:
    raise _ForbiddenError("calls numpy.ndarray, which arrays do not need")


_NDARRAY = _StatelessCallable(_refuse)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _NDARRAY:
        raise _ForbiddenError("has an array of another class than NumPy's")
    return _Array()


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _dtype(dtype).array(shape, order == "F", raw)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data), encoding="bytes")
        # Encoding the same string many times could fill the memory; a regular pickle encodes each string once.
        self._spare = len(data)

    def find_class(self, module: str, name: str) -> _StatelessCallable:
        """Returns the substitute for an accepted function or class; refuses all others."""
        known: dict[str, Callable[..., Any]] = {
            "_codecs encode": self._encode,  # used by Python 3 to write bytes in protocols without a bytes type
            "numpy dtype": _Dtype,
            "numpy.core.multiarray _reconstruct": _reconstruct,
            "numpy._core.multiarray _reconstruct": _reconstruct,
            "numpy.core.numeric _frombuffer": _frombuffer,
            "numpy._core.numeric _frombuffer": _frombuffer,
        }
        if (module, name) == ("numpy", "ndarray"):
            return _NDARRAY
        if (call := known.get(f"{module} {name}")) is None:
            raise _ForbiddenError(f"asks for {f'{module}.{name}'[:80]!r}, which is more than plain data")
        return _StatelessCallable(call)

    def _encode(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1", "latin-1", b"latin-1"):
            raise _ForbiddenError("asks for another encoding than that of bytes")
        self._spare -= len(text)
        if self._spare < 0:
            raise _ForbiddenError("makes more of its bytes than there are")
        return text.encode("latin-1")


def read(path: Path) -> dict[str, Any]:
    """Returns the dictionary in a pickle file; see `load`.

    Raises:
        UnpickleError: as `load`, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return load(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UnpickleError(f"cannot read {path}: {error.strerror or error}") from error


def load(data: bytes, name: str) -> dict[str, Any]:
    """Returns the dictionary in a pickle of protocol 2 to 5, written by Python 2 or 3.

    Args:
        data: the pickle.
        name: name of the pickle in error messages.

    Returns:
        The dictionary. Its keys are `str`, also if Python 2 wrote bytes; its arrays of integers are read-only views of
        the pickle's bytes. Strings of Python 2 are `bytes`. Nested values are not checked.

    Raises:
        UnpickleError: not a pickle, damaged, larger than the limits, not a dictionary, or with content other than plain
            data and arrays of integers. None of it has been executed.
    """
    if len(data) > MAX_BYTES:
        raise UnpickleError(f"{name} has more than {MAX_BYTES:,} bytes, the most that are read of a pickle")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `genops` warns about invalid escapes in names, which are refused later
            _check(data)
        value = _Unpickler(data).load()
        if not isinstance(value, dict):
            raise UnpickleError(f"{name} holds no dictionary: it is another file than it should be")
        return {_text(key): item.values if isinstance(item, _Array) else item for key, item in value.items()}
    except _ForbiddenError as error:
        raise UnpickleError(f"{name} {error}; it was not run, and you should not trust it") from None
    except (pickle.UnpicklingError, EOFError, MemoryError, *_DAMAGE):
        raise UnpickleError(f"{name} is no pickle, damaged or cut short: fetch it anew") from None


def _text(key: str | bytes) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else key


def _check(data: bytes) -> None:
    """Refuses instructions that plain data does not need, or that cost memory or time out of proportion to their size.

    Python's unpickler allocates twice the largest memo index, and the stated length of a bytearray. Hashing a key of
    nested tuples that each hold the next one twice takes 2**depth steps. Large integers can be chosen to collide in a
    dictionary.
    """
    tuples, puts, last = 0, 0, ""
    memoised_tuples: set[int] = set()
    # `genops` only parses the instructions, and raises ValueError if there are fewer bytes than a stated length.
    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(BytesIO(data))):
        name = opcode.name
        if step >= MAX_STEPS:
            raise _ForbiddenError(f"has more than {MAX_STEPS:,} instructions")
        if name not in _OPCODES:
            raise _ForbiddenError(f"uses the pickle instruction {name}, which plain data does without")
        tuples += (name in _TUPLES) - (name == "REDUCE")
        if tuples > MAX_TUPLES:
            raise _ForbiddenError(f"has more than {MAX_TUPLES:,} tuples")
        if name in _PUTS:
            index = puts if name == "MEMOIZE" else int(argument)
            puts += 1
            if last not in _MEMOISED:
                raise _ForbiddenError("numbers an object that is not new")
            if index > MAX_STEPS:
                raise _ForbiddenError(f"numbers an object {index:,}, and has fewer instructions")
            if last in _TUPLES:
                memoised_tuples.add(index)
        if name in _GETS and argument in memoised_tuples:
            raise _ForbiddenError("uses a tuple twice")
        if name == "LONG1" and abs(argument) >= 2**61 - 1:
            raise _ForbiddenError("has a whole number of more than 61 bits")
        if name != "FRAME":  # has no effect, and may stand between an object and its memo instruction
            last = name

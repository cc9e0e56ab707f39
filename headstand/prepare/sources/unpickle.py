"""Pickles of plain data and NumPy arrays, read without running anything that is in them.

A pickle is a program for a small stack machine, and Python's own machine imports and calls whatever the program names.
This one knows the instructions that build dictionaries, lists, tuples, numbers, texts and bytes; a name is to it a mere
word, and the five that arrays and bytes are pickled with stand for steps of its own. So there is nothing to call, and
no place in the program that could change that.
"""

import math
import pickletools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from headstand.errors import HeadstandError

MAX_BYTES = 512 * 2**20
"""Largest pickle, in bytes; the largest of CIFAR-100 has 155 million."""

MAX_STEPS = 3_000_000
"""Most instructions. CIFAR-100's `train` has 400,000 at most; each can take 200 bytes of memory, short as it is."""

_ENCODE, _RECONSTRUCT, _FROMBUFFER, _NDARRAY, _DTYPE = "encode", "reconstruct", "frombuffer", "ndarray", "dtype"

_WORDS = {
    "_codecs encode": _ENCODE,  # how Python 3 writes bytes in protocols that have none
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _DTYPE,
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy.core.numeric _frombuffer": _FROMBUFFER,
    "numpy._core.numeric _frombuffer": _FROMBUFFER,
}


class UnpickleError(HeadstandError):
    """A pickle that is damaged, too large, or holds more than plain data."""


class _RefusedError(Exception):
    """What a pickle asks for and does not get."""


@dataclass(frozen=True)
class _Word:
    """A name out of `_WORDS`."""

    meaning: str


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "<"


@dataclass(eq=False)
class _Array:
    values: np.ndarray | None = None


def read(path: Path) -> dict[str, Any]:
    """The dictionary that a file holds, as `load` reads it.

    Raises:
        UnpickleError: as `load`, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return load(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UnpickleError(f"cannot read {path}: {error.strerror or error}") from error


def load(data: bytes, name: str) -> dict[str, Any]:
    """Read a pickled dictionary, of Python 2 or 3, protocol 2 to 5.

    Args:
        data: the pickle.
        name: what to call it in a complaint.

    Returns:
        The dictionary. Its keys are texts, also where Python 2 wrote bytes; its arrays of integers are read-only views
        of the pickle's bytes. The texts of Python 2 are `bytes`. Nothing that lies deeper has been checked.

    Raises:
        UnpickleError: no pickle, damaged, larger than the caps, no dictionary, or with anything but plain data and
            arrays of integers in it. Nothing of it has been run.
    """
    if len(data) > MAX_BYTES:
        raise UnpickleError(f"{name} has more than {MAX_BYTES:,} bytes, the most that are read of a pickle")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `genops` warns of odd escapes in names that are refused a moment later
            value = _Machine(len(data)).run(data)
        if not isinstance(value, dict):
            raise UnpickleError(f"{name} holds no dictionary: it is another file than it should be")
        return {_text(key): _values(item) for key, item in value.items()}
    except _RefusedError as error:
        raise UnpickleError(f"{name} {error}; it was not run, and you should not trust it") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise UnpickleError(f"{name} is no pickle, damaged or cut short: fetch it anew") from None


def _text(key: str | bytes) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else key


def _values(item: Any) -> Any:
    if not isinstance(item, _Array):
        return item
    if item.values is None:
        raise ValueError("an array without values")
    return item.values


class _Machine:
    """The stack, the marks in it and the memo; each instruction is a method that gets its argument."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        # Texts that are encoded again and again could fill the memory; an honest pickle encodes each one once.
        self.spare = size

    def run(self, data: bytes) -> Any:
        # `genops` only cuts a pickle into instructions; it carries none of them out.
        for step, (opcode, argument, _) in enumerate(pickletools.genops(BytesIO(data))):
            if step >= MAX_STEPS:
                raise _RefusedError(f"has more than {MAX_STEPS:,} instructions")
            instruction = _INSTRUCTIONS.get(opcode.name)
            if instruction is None:
                raise _RefusedError(f"uses the pickle instruction {opcode.name}, which plain data does without")
            instruction(self, argument)
        (value,) = self.stack
        return value

    def constant(self, value: Any) -> None:
        self.stack.append(value)

    def text_of_python_2(self, value: str) -> None:
        self.stack.append(value.encode("latin-1"))

    def mark(self, _: None) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("too little on the stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("items for what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, str | bytes) for key in keys):
            raise ValueError("keys that are no texts, or for what is no dictionary")
        self.stack[-1].update(zip(keys, values, strict=True))

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def name(self, text: str) -> None:
        if text not in _WORDS:
            raise _RefusedError(f"asks for {text.replace(' ', '.')[:80]!r}, which is more than plain data")
        self.stack.append(_Word(_WORDS[text]))

    def name_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a name that is no text")
        self.name(f"{module} {name}")

    def call(self) -> None:
        """REDUCE: what a word means, done by ourselves."""
        arguments, word = self.stack.pop(), self.stack.pop()
        if not isinstance(word, _Word) or not isinstance(arguments, tuple):
            raise _RefusedError("calls what is no function")
        if word.meaning == _ENCODE:
            self.stack.append(self.encoded(*arguments))
        elif word.meaning == _RECONSTRUCT and arguments[0] == _Word(_NDARRAY):
            self.stack.append(_Array())
        elif word.meaning == _DTYPE:
            self.stack.append(_Dtype(_integer(arguments[0])))
        elif word.meaning == _FROMBUFFER:
            raw, dtype, shape, order = arguments
            self.stack.append(_Array(_array(shape, dtype, order == "F", raw)))
        else:
            raise _RefusedError(f"calls {word.meaning} in a way that arrays do not need")

    def encoded(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1", "latin-1", b"latin-1"):
            raise _RefusedError("asks for another encoding than that of bytes")
        self.spare -= len(text)
        if self.spare < 0:
            raise _RefusedError("makes more of its bytes than there are")
        return text.encode("latin-1")

    def build(self) -> None:
        """BUILD: the state of a data type or an array."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype):
            if state[1] not in ("<", ">", "|", "=", b"<", b">", b"|", b"=") or any(
                part is not None for part in state[2:5]
            ):
                raise _RefusedError("has an array of something else than integers")
            target.order = ">" if state[1] in (">", b">") else "<"
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, raw = state
            target.values = _array(shape, dtype, fortran, raw)
        else:
            raise _RefusedError("sets the state of what has none")


def _integer(code: Any) -> str:
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    if not isinstance(text, str) or not re.fullmatch("[iu][1248]", text):
        raise _RefusedError("has an array of something else than integers")
    return text


def _array(shape: Any, dtype: Any, fortran: Any, raw: Any) -> np.ndarray:
    """The array that `raw` holds, if it holds it to the byte."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or not isinstance(shape, tuple) or len(shape) > 8:
        raise ValueError("no array")
    type_ = np.dtype(dtype.order + dtype.code)
    if not all(type(side) is int and 0 <= side <= len(raw) for side in shape):
        raise ValueError("no shape")
    if math.prod(shape) * type_.itemsize != len(raw):
        raise ValueError("more or less bytes than the shape needs")
    return np.frombuffer(raw, type_).reshape(shape, order="F" if fortran else "C")


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.constant(None),
    "NEWTRUE": lambda machine, _: machine.constant(True),
    "NEWFALSE": lambda machine, _: machine.constant(False),
    **dict.fromkeys(["BININT", "BININT1", "BININT2", "LONG1"], _Machine.constant),
    **dict.fromkeys(["SHORT_BINUNICODE", "BINUNICODE"], _Machine.constant),
    **dict.fromkeys(["SHORT_BINBYTES", "BINBYTES", "BINBYTES8"], _Machine.constant),
    "BYTEARRAY8": lambda machine, data: machine.constant(bytes(data)),
    **dict.fromkeys(["SHORT_BINSTRING", "BINSTRING"], _Machine.text_of_python_2),
    "EMPTY_LIST": lambda machine, _: machine.constant([]),
    "EMPTY_DICT": lambda machine, _: machine.constant({}),
    "EMPTY_TUPLE": lambda machine, _: machine.constant(()),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.constant(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT"], _Machine.put),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda machine, _: machine.name_on_stack(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}

"""Images of formats whose decoders run in a process of their own: AVIF, HEIC and TIFF.

The decoders of AVIF and HEIC are those of videos, and libtiff has those of fifty compressions: what they need does not
follow from a header, and a damaged file may crash them. The process (`isolated_decoder.py`) has limits of memory and
time that the operating system enforces, none of this process's environment variables, and ends with the image.
"""

import contextlib
import importlib.util
import json
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from headstand.errors import ImageError

MODULES = {"AVIF": "PIL._avif", "HEIC": "pi_heif", "TIFF": "PIL.TiffImagePlugin"}
"""The formats, by the names of `headstand.images.formats`, and the module without which each is not enabled."""

PER_PIXEL = {"AVIF": 20, "HEIC": 9, "HEIC, deep": 21, "TIFF": 10}
"""Memory in bytes that decoding a pixel may take, by format; deep is more than 8 bits, or other than 4:2:0."""

_OPENING, _FIXED = 64_000_000, 16_000_000
"""Memory in bytes that opening a file may take, and decoding it besides its pixels; both also 3 times its length."""

SECONDS, OWN_SECONDS = 10, 60
"""Processor time that a file may take, in seconds; the second for a user's own files (`source.large`)."""

_KEPT = ("LD_LIBRARY_PATH", "PATH", "SYSTEMROOT")
"""Environment variables that Python needs to start."""

_DECODER = Path(__file__).with_name("isolated_decoder.py")


@cache
def enabled(kind: str) -> bool:
    """Returns whether the decoder of a format is installed."""
    return importlib.util.find_spec(MODULES[kind]) is not None


class IsolatedImage(Image.Image):
    """Opened image whose pixels a process decodes when they are needed, like those of Pillow's `ImageFile`.

    `size` is that of the upright image, which is what `load` gives. Use it as a context manager, or close it.

    Args:
        data: the encoded image.
        kind: its format, a key of `MODULES`.
        large: allow the processor time for a user's own files.

    Raises:
        ImageError: the data cannot be opened.
    """

    def __init__(self, data: bytes, kind: str, large: bool = False) -> None:
        import subprocess  # takes 5 ms, which a function that never needs it should not wait for

        super().__init__()
        self.format = kind
        self._factors, self._length = (1, 1), len(data)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # One arena, because each further one reserves 64 MB of address space.
        environment["MALLOC_ARENA_MAX"] = "1"
        self._process: Any = subprocess.Popen(  # noqa: S603 - a fixed command
            [sys.executable, "-I", "-S", str(_DECODER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        request = {
            "path": [os.path.abspath(folder) for folder in sys.path],  # noqa: PTH100 - "" is the current folder
            "format": kind,
            "length": self._length,
            "memory": _OPENING + 3 * self._length,
            "seconds": OWN_SECONDS if large else SECONDS,
        }
        try:
            header = self._ask(request, data)
        except BaseException:
            self.close()
            raise
        self._mode, self._size = header["mode"], tuple(header["size"])
        self._whole = self._size
        self.is_animated: bool = header["animated"]
        self._per_pixel = PER_PIXEL[header["cost"]]

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def needed(self) -> int:
        """Estimate of the memory in bytes that the process takes, which is also its limit."""
        return self._per_pixel * self._whole[0] * self._whole[1] + _FIXED + 3 * self._length

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """Lets the process reduce the image by integer factors to at least this size; see `Image.Image.draft`."""
        if size and not self._mode.startswith("I"):  # Pillow does not reduce 16 bits
            self._factors = max(1, self._whole[0] // size[0]), max(1, self._whole[1] // size[1])
            self._size = -(-self._whole[0] // self._factors[0]), -(-self._whole[1] // self._factors[1])

    def load(self) -> Any:
        """Decodes the pixels, if that has not been done.

        Raises:
            ImageError: the image is damaged, or needs too much memory or time.
        """
        if self._process is not None:
            answer = self._ask({"factors": self._factors, "memory": self.needed})
            raw = self._process.stdout.read(answer["length"])
            self._mode = answer["mode"]
            self._im = Image.frombytes(self._mode, self._size, raw).im
            self._end()
        return super().load()

    def close(self) -> None:
        """Ends the process, and releases the pixels."""
        self._end()
        super().close()

    def _end(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            with contextlib.suppress(BrokenPipeError), process:  # closes the pipes and waits
                pass

    def _ask(self, request: dict[str, Any], data: bytes = b"") -> Any:
        """Sends a line of JSON and bytes to the process, and returns the line that it answers."""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.write(data)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            if -self._process.wait() == getattr(signal, "SIGXCPU", None):
                raise ImageError("too_large", "the image takes more processor time to decode than is allowed")
            raise ImageError("corrupt_image", "the image is damaged, or takes more memory to decode than is allowed")
        answer = json.loads(line)
        if "error" in answer:
            raise ImageError(*answer["error"])
        return answer

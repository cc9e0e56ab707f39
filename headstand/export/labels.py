"""Reads the class names of a foreign model from a text or JSON file."""

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.keras_files.parts import shown

_MOST_BYTES = 4 * 2**20
"""Largest file size; ImageNet's 21,841 names take 0.5 MiB."""

_LONGEST = 200
"""Largest length of a label in characters."""


class LabelsError(HeadstandError):
    """Raised for labels that cannot be read or are not distinct names."""


def read(path: Path) -> tuple[str, ...]:
    """Reads labels in the order of a model's outputs.

    Args:
        path: UTF-8 text with one label per line (the numbers of Teachable Machine's `0 Cat`, `1 Dog` are removed), or
            JSON: a list of labels, `{"0": label, ...}` as Hugging Face's id2label, `{label: 0, ...}` as Keras's
            class_indices, or `{"0": [code, label], ...}` as ImageNet's class index.

    Raises:
        LabelsError: the file cannot be read, or does not hold a list of distinct labels.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= _MOST_BYTES else ""
    except OSError as error:
        raise LabelsError(f"the labels {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LabelsError(f"the labels {path} are not UTF-8 text") from None
    if size > _MOST_BYTES:
        raise LabelsError(f"the labels {path} have {size:,} bytes; the limit is {_MOST_BYTES:,}")
    try:
        if text.lstrip()[:1] in ("[", "{"):
            return checked(_listed(text))
        return checked(_without_numbers([line.strip() for line in text.strip().splitlines()]))
    except LabelsError as error:
        raise LabelsError(f"{path}: {error}") from None


def checked(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels in Unicode's composed form (NFC), checked to be distinct and printable.

    Raises:
        LabelsError: fewer than two labels, or one that is empty, too long, not printable or a duplicate.
    """
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise LabelsError("labels must be texts, one per output")
    if len(labels) < 2:
        raise LabelsError(f"a classifier needs two labels or more, not {len(labels)}")
    numbers: dict[str, int] = {}
    for number, label in enumerate(labels, start=1):
        if not label.strip():
            raise LabelsError(f"label {number} is empty")
        if not label.isprintable() or label != label.strip() or len(label) > _LONGEST:
            raise LabelsError(
                f"label {number}, {shown(label)}, is not one line of at most {_LONGEST} printable characters"
            )
        key = unicodedata.normalize("NFC", label)
        if key in numbers:
            raise LabelsError(f"labels {numbers[key]} and {number} are both {shown(label)}")
        numbers[key] = number
    return tuple(numbers)


def _without_numbers(lines: list[str]) -> list[str]:
    """Removes the numbers of `0 Cat`, `1 Dog` if every line begins with its own index."""
    matches = [re.fullmatch(rf"{number}\s+(.+)", line) for number, line in enumerate(lines)]
    return [match[1] for match in matches if match] if all(matches) else lines


def _listed(text: str) -> list[str]:
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise LabelsError(f"the labels are not JSON: {shown(str(error))}") from None
    if isinstance(value, dict):
        if value and all(type(item) is int for item in value.values()):
            value = {str(index): label for label, index in value.items()}
        indices = [str(index) for index in range(len(value))]
        if set(value) != set(indices):
            raise LabelsError(f"the labels are not numbered from 0 to {len(value) - 1}, each number once")
        value = [value[index] for index in indices]
    if all(isinstance(item, list) and len(item) == 2 for item in value):
        value = [item[1] for item in value]
    if not all(isinstance(item, str) for item in value):
        raise LabelsError("the labels are JSON, but neither a list of texts nor texts with their indices")
    return list(value)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Builds a JSON object and refuses duplicate keys, which JSON's own reader would drop silently."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise LabelsError("the labels contain an index or a label twice")
    return dict(pairs)

"""AWS's own description of its calls, kept to the letter: lengths, patterns and lists too, which botocore leaves be."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel, Shape

from headstand.scale.sagemaker import account

_JAVA = {"L": "a-zA-Z", "Z": " ", "N": "0-9"}


@cache
def operation(name: str) -> OperationModel:
    return botocore.session.get_session().get_service_model("sagemaker").operation_model(name)


def hold(name: str, request: dict[str, Any]) -> None:
    """Assert that a request fits."""
    account.check(name, request)
    assert list(faults(operation(name).input_shape, request)) == []


def faults(shape: Shape, value: Any, where: str = "") -> Iterator[str]:
    """What is wrong with a value."""
    if shape.type_name == "structure":
        for key, member in value.items():
            yield from faults(shape.members[key], member, f"{where}.{key}")
    elif shape.type_name == "list":
        for index, member in enumerate(value):
            yield from faults(shape.member, member, f"{where}[{index}]")
    elif shape.type_name == "map":
        for key, member in value.items():
            yield from faults(shape.key, key, f"{where}.{key}")
            yield from faults(shape.value, member, f"{where}.{key}")
    limits = shape.metadata
    if shape.type_name == "string":
        if "enum" in limits and value not in limits["enum"]:
            yield f"{where}: {value!r} is none of {limits['enum']}"
        # Java's letters, spaces and digits; of each the plain ones.
        pattern = re.sub(r"\\p\{(.)\}", lambda found: _JAVA[found[1]], limits.get("pattern", ".*"))
        if not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{where}: {value!r} does not match {pattern}"
    if "min" in limits or "max" in limits:
        size = value if isinstance(value, int | float) else len(value)
        if not limits.get("min", 0) <= size <= limits.get("max", float("inf")):
            yield f"{where}: {value!r} is not from {limits.get('min')} to {limits.get('max')}"

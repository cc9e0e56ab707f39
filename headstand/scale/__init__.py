"""Optional: the same work on a Ray cluster or on SageMaker. Only entry points import this package."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstand.training import Backend


@contextmanager
def backend(ray: str | None) -> Iterator["Backend"]:
    """Yields the executor of the Ray cluster at `ray` (see `headstand.scale.ray.connected`); this process if None."""
    if ray is None:
        from headstand.training import LOCAL

        yield LOCAL
        return
    from headstand.scale.ray import connected  # Ray is an optional dependency

    with connected(ray) as executor:
        yield executor

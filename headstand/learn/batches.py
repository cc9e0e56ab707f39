"""Batch boundaries, shared by the training of heads and by fine-tuning."""

import numpy as np


def bounds(count: int, batch_size: int) -> np.ndarray:
    """Boundaries of the batches of an epoch: batch i holds the rows `bounds[i]` to `bounds[i + 1] - 1`.

    The rows are spread evenly over `ceil(count / batch_size)` batches, so the sizes differ by one row at most. Cutting
    off full batches would leave a last batch of as little as one row: the variance of one row is 0, mixup finds no
    partner in it, and its noisy gradient counts as much as that of a full batch.

    Args:
        count: rows, at least 1.
        batch_size: rows in a batch. Exceeded by one row where a batch of a single row is otherwise unavoidable: an odd
            number of rows in batches of two.

    Returns:
        `int64 [steps + 1]`, from 0 to `count`.
    """
    steps = -(-count // batch_size)
    if batch_size > 1:
        steps = min(steps, max(1, count // 2))
    return np.arange(steps + 1) * count // steps

"""Batch boundaries for the training of heads and for fine-tuning."""

import numpy as np


def bounds(count: int, batch_size: int) -> np.ndarray:
    """Returns the boundaries of an epoch's batches: batch i holds the rows `bounds[i]` to `bounds[i + 1] - 1`.

    The rows are spread evenly over `ceil(count / batch_size)` batches, so that their sizes differ by at most one row.
    Full batches would leave a last batch of as little as one row: the variance of one row is 0, mixup has no partner
    for it, and its noisy gradient counts as much as that of a full batch.

    Args:
        count: number of rows, at least 1.
        batch_size: rows per batch. Exceeded by one row if a batch of a single row is otherwise unavoidable (an odd
            number of rows in batches of two).

    Returns:
        `int64 [steps + 1]`, from 0 to `count`.
    """
    steps = -(-count // batch_size)
    if batch_size > 1:
        steps = min(steps, max(1, count // 2))
    return np.arange(steps + 1) * count // steps

import numpy as np
import pytest

from headstand.heads import fitting


@pytest.mark.parametrize("batch_size", [2, 3, 7, 20, 32, 500])
def test_no_batch_is_much_smaller_than_the_others(batch_size: int) -> None:
    for count in range(2, 200):
        bounds = fitting.batch_bounds(count, batch_size)
        sizes = np.diff(bounds)
        assert (bounds[0], bounds[-1], sizes.sum()) == (0, count, count)
        assert sizes.max() - sizes.min() <= 1
        assert sizes.min() >= 2
        # An odd number of rows in batches of two: one of them has three.
        assert sizes.max() <= batch_size + (batch_size == 2 and count % 2)
        assert len(sizes) <= -(-count // batch_size)


def test_batches_of_known_sizes() -> None:
    assert np.diff(fitting.batch_bounds(40, 20)).tolist() == [20, 20]
    assert np.diff(fitting.batch_bounds(41, 20)).tolist() == [13, 14, 14]
    assert np.diff(fitting.batch_bounds(5, 2)).tolist() == [2, 3]
    assert np.diff(fitting.batch_bounds(3, 1)).tolist() == [1, 1, 1]
    assert fitting.batch_bounds(1, 8).tolist() == [0, 1]

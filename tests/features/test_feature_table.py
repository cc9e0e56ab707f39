from pathlib import Path

import numpy as np

from headstand.features.feature_table import FeatureTable


def test_rows_written_in_any_order_are_read_back_after_closing(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    with FeatureTable(tmp_path, 5, 4) as rows:
        rows.write(3, values[3:])
        rows.write(0, values[:3].astype(np.float64))
        table = rows.mapped()
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, values)
    assert not list(tmp_path.iterdir())


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    with FeatureTable(tmp_path, 0, 4) as rows:
        assert rows.mapped().shape == (0, 4)

"""Whose samples a stage works on."""

from __future__ import annotations

import numpy as np

from slipstream_decoders import BatchContext


def test_rows_take_all_that_belongs_to_them() -> None:
    """Ids, occurrences and sizes of images, in the order of the rows."""
    sizes = np.array([[4, 5], [6, 7], [8, 9]], np.int32)
    context = BatchContext(np.array([10, 20, 30]), seed=1, image_sizes={"image": sizes})
    taken = context.take(np.array([2, 0]))
    assert taken.sample_ids.tolist() == [30, 10]
    assert taken.sample_occurrences.tolist() == [0, 0]
    assert taken.image_sizes["image"].tolist() == [[8, 9], [4, 5]]
    assert context.rows(np.array([False, True, False])).image_sizes["image"].tolist() == [[6, 7]]
    assert BatchContext.standalone(3).take(np.array([1])).image_sizes == {}

"""Files of a part."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE
from slipstream_cache.writers import hash_file, npy_header, write_npy


@pytest.mark.parametrize("dtype", [np.dtype("<i8"), np.dtype("|b1"), IMAGE_SAMPLE_DTYPE])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_npy_headers_are_numpys(dtype: Any, shape: Any) -> None:
    """NumPy reads the header, and its length does not depend on the number of rows."""
    headers = [npy_header(dtype, (count, *shape)) for count in (0, 7, 123_456_789)]
    assert len({len(header) for header in headers}) == 1
    assert len(headers[0]) % 64 == 0
    for count, header in zip((0, 7), headers, strict=False):
        array = np.zeros((count, *shape), dtype)
        loaded = np.load(io.BytesIO(header + array.tobytes()), allow_pickle=False)
        assert (loaded.dtype, loaded.shape) == (dtype, array.shape)


def test_written_files_have_the_hash_that_is_told(tmp_path: Path) -> None:
    """Size and hash are those of the whole file, header included."""
    path = tmp_path / "a.npy"
    (info,) = write_npy(path, np.arange(1000)).values()
    assert info.bytes == path.stat().st_size
    assert info.xxh3 == hash_file(path)
    assert (np.load(path) == np.arange(1000)).all()

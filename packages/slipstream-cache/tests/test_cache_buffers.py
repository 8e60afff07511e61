"""Memory of batches is used again, but never while anybody holds it."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest

from slipstream_cache.buffers import _free, new_array

SHAPE = (1 << 20,)
BYTE = np.dtype(np.uint8)


@pytest.fixture(autouse=True)
def no_free_buffers() -> Any:
    """Each test begins and ends without free buffers."""
    _free.clear()
    yield
    _free.clear()


def test_a_buffer_comes_back_when_the_last_view_is_gone() -> None:
    """A view of a view keeps the memory; after it the memory is used again."""
    array = new_array(SHAPE, BYTE)
    address = array.ctypes.data
    view = array[10:].reshape(-1)[5:8].view(np.int8)
    del array
    gc.collect()
    assert new_array(SHAPE, BYTE).ctypes.data != address
    _free.clear()
    del view
    gc.collect()
    assert new_array(SHAPE, BYTE).ctypes.data == address


def test_held_arrays_never_share_memory() -> None:
    """Arrays that are alive at the same time keep their content."""
    held = []
    for k in range(20):
        held.append(new_array((1000, 300 + k), np.dtype("<i4")))
        held[-1][:] = k
        if k % 3 == 0:
            del held[0]
    assert [array[0, 0] for array in held] == [array.max() for array in held]
    assert len({array.ctypes.data for array in held}) == len(held)


def test_few_free_buffers_are_kept() -> None:
    """At most four buffers wait, and a much smaller array does not take a large one."""
    held = [new_array(SHAPE, BYTE) for _ in range(10)]
    del held
    gc.collect()
    assert len(_free) == 4
    small = new_array((1 << 18,), BYTE)
    assert len(_free) == 4
    assert small.shape == (1 << 18,)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), (600, 1000)])
@pytest.mark.parametrize("dtype", ["|b1", "<f2", "<c16", "<M8[s]"])
def test_arrays_are_ordinary(shape: Any, dtype: Any) -> None:
    """Any shape and dtype, writable and contiguous."""
    array = new_array(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.carray


def test_no_python_code_runs_when_a_buffer_comes_back() -> None:
    """An interrupt that came there would be lost: the interpreter ignores errors of callbacks."""
    array = new_array(SHAPE, BYTE)
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name + event))
    del array
    sys.setprofile(None)
    assert [name for name in called if name.endswith("call") and "c_call" not in name] == []
    assert len(_free) == 1

"""The kernels agree with plain NumPy, and stop where they must."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream_cache._kernels.gather import (
    _STREAMED_BYTES,
    copy_payloads,
    gather_rows,
    locate_images,
    locate_ragged,
    part_of,
)
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE

PARTS = st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any)


def starts_of(counts: list[int]) -> Any:
    """First sample of each part, and the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def draw_ids(data: st.DataObject, total: Any) -> Any:
    """Some valid ids in any order."""
    return np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=20)), np.int64)


@given(counts=PARTS)
def test_part_of(counts: list[int]) -> None:
    """Each sample is in the part that NumPy finds, also beside empty parts."""
    starts = starts_of(counts)
    for sample_id in range(starts[-1]):
        assert part_of(sample_id, starts) == np.searchsorted(starts, sample_id, "right") - 1


@settings(deadline=None)
@given(counts=PARTS, row_bytes=st.integers(1, 40), data=st.data())
def test_gather_rows(counts: list[int], row_bytes: int, data: st.DataObject) -> None:
    """Rows of any size are those that NumPy indexes."""
    starts = starts_of(counts)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 255, (count, row_bytes), np.uint8) for count in counts]
    table = np.zeros((3, len(counts)), np.int64)
    table[0] = [part.ctypes.data for part in rows]
    ids = draw_ids(data, starts[-1])
    out = np.empty((len(ids), row_bytes), np.uint8)
    assert gather_rows(ids, starts, table, 0, row_bytes, out.ctypes.data) == len(ids)
    assert (out == np.concatenate(rows)[ids]).all()


@settings(deadline=None)
@given(counts=PARTS, data=st.data())
def test_locate_ragged(counts: list[int], data: st.DataObject) -> None:
    """Addresses and sizes are those of the offset tables; unmapped parts are met in order."""
    starts = starts_of(counts)
    rng = np.random.default_rng(0)
    offsets = [np.cumsum([0, *rng.integers(0, 9, count)]).astype("<u8") for count in counts]
    table = np.zeros((3, len(counts)), np.int64)
    ids = draw_ids(data, starts[-1])
    addresses, sizes = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    position = 0
    while (position := locate_ragged(ids, starts, table, position, addresses, sizes)) < len(ids):
        part = part_of(ids[position], starts)
        assert table[0, part] == 0
        table[:, part] = offsets[part].ctypes.data, 1000 * part, offsets[part][-1]
    for k, i in enumerate(ids):
        part = part_of(i, starts)
        row = i - starts[part]
        assert addresses[k] == 1000 * part + offsets[part][row]
        assert sizes[k] == offsets[part][row + 1] - offsets[part][row]


def locate(rows: Any, ids: Any, limit: Any) -> Any:
    """Run ``locate_images`` over one part."""
    table = np.array([[rows.ctypes.data], [5000], [limit]], np.int64)
    out: list[Any] = [np.zeros(len(ids), np.int64) for _ in range(2)]
    out += [np.zeros(len(ids), np.int32) for _ in range(2)]
    marks, checksums = np.zeros((3, len(ids)), np.uint8), np.zeros(len(ids), np.int64)
    ids = np.array(ids, np.int64)
    status = locate_images(ids, starts_of([len(rows)]), table, 0, *out, marks, checksums)
    return status, [*out, *marks, checksums.view(np.uint64)]


@settings(deadline=None)
@given(data=st.data())
def test_locate_images(data: st.DataObject) -> None:
    """All columns are those that NumPy reads from the structured rows."""
    rng = np.random.default_rng(0)
    rows = np.frombuffer(rng.bytes(32 * 7), IMAGE_SAMPLE_DTYPE).copy()
    rows["offset"] >>= 30
    for name in ("height", "width"):
        rows[name] >>= 1
    ids = draw_ids(data, len(rows))
    status, columns = locate(rows, ids, 1 << 62)
    assert status == len(ids)
    names = ["size", "height", "width", "codec", "orientation", "condition", "checksum"]
    assert (columns[0] == rows["offset"][ids].astype(np.int64) + 5000).all()
    for name, column in zip(names, columns[1:], strict=True):
        assert (column == rows[name][ids]).all()


def test_rows_outside_the_payloads_are_told() -> None:
    """An offset or size beyond the file stops the kernel at that position."""
    rows = np.zeros(3, IMAGE_SAMPLE_DTYPE)
    rows["size"] = 10
    for column, value in (("offset", 91), ("offset", 1 << 63), ("offset", (1 << 64) - 1)):
        rows[column][1] = value
        assert locate(rows, [0, 2, 1], 100)[0] == -3
        rows[column][1] = 0
    rows["size"][1] = 101
    assert locate(rows, [0, 2, 1], 100)[0] == -3
    rows["size"][1] = 100
    assert locate(rows, [0, 2, 1], 100)[0] == 3


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 300), max_size=10), data=st.data())
def test_copy_payloads(sizes: list[int], data: st.DataObject) -> None:
    """Each payload in the range is copied to its place, and nothing else is touched."""
    source = [bytes([k + 1]) * size for k, size in enumerate(sizes)]
    pointers = [ctypes.create_string_buffer(payload, max(len(payload), 1)) for payload in source]
    addresses = np.array([ctypes.addressof(p) for p in pointers], np.int64)
    offsets = np.cumsum([2, *(size + 2 for size in sizes)])[:-1].astype(np.int64)
    out = np.zeros(sum(sizes) + 2 * len(sizes) + 2, np.uint8)
    begin = data.draw(st.integers(0, len(sizes)))
    end = data.draw(st.integers(begin, len(sizes)))
    counts = np.array(sizes, np.int64)
    assert copy_payloads(addresses, counts, out.ctypes.data, offsets, begin, end) == 0
    expected = np.zeros_like(out)
    for k in range(begin, end):
        expected[offsets[k] : offsets[k] + sizes[k]] = k + 1
    assert (out == expected).all()


def test_large_batches_are_copied_past_the_caches() -> None:
    """Payloads of any size, from and to any address, and nothing beside them."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, 6 << 20, np.uint8)
    sizes = np.concatenate([np.arange(200), rng.integers(0, 200_000, 80)])
    starts = rng.integers(0, source.size - 200_000, sizes.size)
    gaps = rng.integers(1, 70, sizes.size)
    offsets = np.cumsum(gaps) + np.cumsum(sizes) - sizes
    expected = np.zeros(offsets[-1] + sizes[-1] + 64, np.uint8)
    for offset, start, size in zip(offsets, starts, sizes, strict=True):
        expected[offset : offset + size] = source[start : start + size]
    out = np.zeros_like(expected)
    addresses = source.ctypes.data + starts
    assert sizes.sum() > _STREAMED_BYTES
    assert copy_payloads(addresses, sizes, out.ctypes.data, offsets, 0, sizes.size) == 0
    assert (out == expected).all()

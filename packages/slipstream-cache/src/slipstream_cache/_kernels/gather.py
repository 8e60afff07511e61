"""Finds and copies samples in the mapped files of a cache's parts.

Common parameters: ``ids`` are valid sample ids; ``starts`` (parts + 1,) the first sample of each
part, and the end; ``table`` (3, parts) has each part's addresses of the first row and of the
payloads, and the bytes of the payloads. Parts are mapped when they are first needed: a kernel that
meets row address 0 returns the position of the id, the caller maps the part and calls again with
``begin`` at that position. All done: the number of ids. A row that points outside the payloads:
``-1 - position``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_cache._jit import kernel
from slipstream_cache._kernels.memory import (
    STREAM_BLOCK_BYTES,
    copy_bytes,
    finish_streams,
    load_u8,
    load_u32,
    load_u64,
    stream_block,
)

_Int64 = NDArray[np.int64]
_ROW_BYTES = 32  # IMAGE_SAMPLE_DTYPE
_STREAMED_BYTES = 4 << 20


@kernel
def part_of(sample_id: int, starts: _Int64) -> int:
    """Return the number of the part that holds a sample."""
    low, high = 0, len(starts) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= sample_id:
            low = middle
        else:
            high = middle
    return low


@kernel
def gather_rows(
    ids: _Int64, starts: _Int64, table: _Int64, begin: int, row_bytes: int, out: int
) -> int:
    """Copy rows of ``row_bytes`` bytes to the address ``out``, one after another."""
    part = 0
    for i in range(begin, len(ids)):
        if ids[i] < starts[part] or ids[i] >= starts[part + 1]:
            part = part_of(ids[i], starts)
        if table[0, part] == 0:
            return i
        row = table[0, part] + (ids[i] - starts[part]) * row_bytes
        copy_bytes(out + i * row_bytes, row, row_bytes)
    return len(ids)


@kernel
def locate_ragged(
    ids: _Int64, starts: _Int64, table: _Int64, begin: int, addresses: _Int64, sizes: _Int64
) -> int:
    """Write the address and size of each payload; a row is an offset, with the next one its end."""
    part = 0
    for i in range(begin, len(ids)):
        if ids[i] < starts[part] or ids[i] >= starts[part + 1]:
            part = part_of(ids[i], starts)
        if table[0, part] == 0:
            return i
        entry = table[0, part] + (ids[i] - starts[part]) * 8
        first, end = load_u64(entry), load_u64(entry + 8)
        if first < 0 or end < first or end > table[2, part]:
            return -1 - i
        addresses[i] = table[1, part] + first
        sizes[i] = end - first
    return len(ids)


@kernel
def locate_images(
    ids: _Int64,
    starts: _Int64,
    table: _Int64,
    begin: int,
    addresses: _Int64,
    sizes: _Int64,
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    marks: NDArray[np.uint8],
    checksums: _Int64,
) -> int:
    """Write where each image is and what its row (``IMAGE_SAMPLE_DTYPE``) says.

    ``marks`` (3, ids) gets codec, orientation and condition; ``checksums`` holds 64 unsigned bits.
    """
    part = 0
    for i in range(begin, len(ids)):
        if ids[i] < starts[part] or ids[i] >= starts[part + 1]:
            part = part_of(ids[i], starts)
        if table[0, part] == 0:
            return i
        row = table[0, part] + (ids[i] - starts[part]) * _ROW_BYTES
        offset, size = load_u64(row), load_u32(row + 8)
        if offset < 0 or offset > table[2, part] or size > table[2, part] - offset:
            return -1 - i
        addresses[i] = table[1, part] + offset
        sizes[i] = size
        heights[i] = load_u32(row + 12)
        widths[i] = load_u32(row + 16)
        for k in range(3):
            marks[k, i] = load_u8(row + 20 + k)
        checksums[i] = load_u64(row + 24)
    return len(ids)


@kernel
def copy_payloads(
    addresses: _Int64, sizes: _Int64, out: int, offsets: _Int64, begin: int, end: int
) -> int:
    """Copy payloads [begin, end) to the address ``out`` + ``offsets``; returns 0.

    What is too much for the caches of a processor is written past them: otherwise each of its lines
    would be read before it is written.
    """
    total = 0
    for i in range(begin, end):
        total += sizes[i]
    for i in range(begin, end):
        if total < _STREAMED_BYTES:
            copy_bytes(out + offsets[i], addresses[i], sizes[i])
        else:
            stream_bytes(out + offsets[i], addresses[i], sizes[i])
    finish_streams()
    return 0


@kernel
def stream_bytes(destination: int, source: int, num_bytes: int) -> None:
    """Copy bytes past the caches, but for those around whole blocks."""
    head = min(-destination % STREAM_BLOCK_BYTES, num_bytes)
    copy_bytes(destination, source, head)
    blocks = head + (num_bytes - head) // STREAM_BLOCK_BYTES * STREAM_BLOCK_BYTES
    for at in range(head, blocks, STREAM_BLOCK_BYTES):
        stream_block(destination + at, source + at)
    copy_bytes(destination + blocks, source + blocks, num_bytes - blocks)

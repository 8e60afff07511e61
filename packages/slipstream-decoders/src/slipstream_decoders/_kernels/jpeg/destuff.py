"""Entropy-coded bytes without stuffing: 0xFF 0x00 becomes 0xFF, any other marker ends them."""

from __future__ import annotations

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.workspace import DATA_END, SOURCE
from slipstream_decoders._kernels.simd.memory import read_u8, write_i64
from slipstream_decoders._kernels.simd.words import copy_marking_ones, trailing_zeros


@kernel
def destuff(base: int, source: int, source_end: int, target: int) -> None:
    """Copy ``source`` .. ``source_end`` to ``target`` up to a marker.

    ``SOURCE`` becomes the address of the marker, or the end; ``DATA_END`` the end of the copy. Up
    to 32 bytes are read after the source's end and written after the copy's. A 0xFF at the very
    end is not copied.
    """
    while source < source_end:
        ones = copy_marking_ones(source, target)
        if ones == 0:
            source += 32
            target += 32
        else:
            clean = trailing_zeros(ones)
            source += clean
            target += clean
            if source + 1 >= source_end or read_u8(source + 1) != 0:
                break
            source += 2
            target += 1
    if source > source_end:
        target -= source - source_end
        source = source_end
    write_i64(base + SOURCE, source)
    write_i64(base + DATA_END, target)

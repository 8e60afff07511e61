"""Seek points: where in a scan decoding can start, kept as bytes beside the payload.

Little-endian, unaligned:

| byte | |
|---|---|
| 0 | version, 1 |
| 1 | MCUs from one point of a row to the next |
| 2 | components, 1 or 3 |
| 3 | 0 |
| 4-7 | bytes of the payload |
| 8-9, 10-11 | MCUs across, rows of MCUs |
| 12-15 | offset of the scan in the payload |
| 16- | the points, row by row; each row begins with one |

A point is the bit offset of its first MCU from the start of the scan, as stored (uint32), and the
DC predictors there (int16 each). Restart markers need nothing: which interval an MCU belongs to
follows from its number.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.parse import (
    MCU_ROWS,
    MCUS_ACROSS,
    NUM_COMPONENTS,
    RESTART,
    SCAN,
)
from slipstream_decoders._kernels.jpeg.workspace import MCUS_LEFT, PREDICTORS, RESTARTS
from slipstream_decoders._kernels.simd.memory import (
    read_i32,
    read_u8,
    write_i32,
    write_i64,
    write_u8,
)
from slipstream_decoders._kernels.simd.words import read_i16, write_i16

VERSION: Final = 1
HEADER_BYTES: Final = 16
MAX_PAYLOAD: Final = 1 << 28
"""Bytes of the largest payload that has seek points."""


@kernel
def points_across(header: NDArray[np.int64], step: int) -> int:
    """Points of one row of MCUs."""
    num: int = (header[MCUS_ACROSS] + step - 1) // step
    return num


@kernel
def point_bytes(header: NDArray[np.int64]) -> int:
    """Bytes of one point."""
    num: int = 4 + 2 * header[NUM_COMPONENTS]
    return num


@kernel
def points_size(header: NDArray[np.int64], step: int) -> int:
    """Bytes of all seek points of an image."""
    num: int = points_across(header, step) * header[MCU_ROWS]
    return HEADER_BYTES + num * point_bytes(header)


@kernel
def write_points_header(header: NDArray[np.int64], size: int, step: int, points: int) -> None:
    """Begin the bytes at address ``points``."""
    write_u8(points, VERSION)
    write_u8(points + 1, step)
    write_u8(points + 2, header[NUM_COMPONENTS])
    write_u8(points + 3, 0)
    write_i32(points + 4, size)
    write_i16(points + 8, header[MCUS_ACROSS])
    write_i16(points + 10, header[MCU_ROWS])
    write_i32(points + 12, header[SCAN])


@kernel
def step_of_points(points: int, num_bytes: int, header: NDArray[np.int64], size: int) -> int:
    """MCUs from one point to the next; 0 if these are not the seek points of this image."""
    if num_bytes < HEADER_BYTES or read_u8(points) != VERSION:
        return 0
    step: int = np.int64(read_u8(points + 1))
    fits = (
        step > 0
        and np.int64(read_u8(points + 2)) == header[NUM_COMPONENTS]
        and np.int64(read_i32(points + 4)) == size
        and read_i16(points + 8) == header[MCUS_ACROSS]
        and read_i16(points + 10) == header[MCU_ROWS]
        and np.int64(read_i32(points + 12)) == header[SCAN]
        and num_bytes == points_size(header, step)
    )
    return step if fits else 0


@kernel
def write_point(header: NDArray[np.int64], base: int, offset: int, point: int) -> bool:
    """Write a point: the reader's predictors at a bit offset; whether they can be right."""
    write_i32(point, offset)
    for c in range(header[NUM_COMPONENTS]):
        predictor = np.int64(read_i32(base + PREDICTORS + 64 * c))
        if predictor < -(1 << 15) or predictor >= 1 << 15:
            return False
        write_i16(point + 4 + 2 * c, predictor)
    return True


@kernel
def read_offset(point: int) -> int:
    """Bit offset of a point from the start of the scan."""
    offset: int = np.int64(read_i32(point)) & 0xFFFFFFFF
    return offset


@kernel
def restore_state(header: NDArray[np.int64], base: int, mcu: int, point: int) -> None:
    """Set predictors and restart state to those of a point before MCU number ``mcu``."""
    for c in range(header[NUM_COMPONENTS]):
        write_i32(base + PREDICTORS + 64 * c, read_i16(point + 4 + 2 * c))
    if header[RESTART] > 0:
        write_i64(base + RESTARTS, (mcu // header[RESTART]) & 7)
        write_i64(base + MCUS_LEFT, header[RESTART] - mcu % header[RESTART])

"""The filters of a planar resize in the form that its loops read: integer weights, picked bytes.

Down the columns a tap of an output row is a source row and a weight. Across a row, outputs are
made 16 at a time and each takes two neighbouring pixels at a step: ``ceil(taps / 2)`` steps. Blocks
of 32 outputs follow one another, the last one so that it ends with the row; only a row of fewer
than 32 outputs has some that nobody wants. What is rounded off one weight is left to the next: they
sum up to one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import Filter
from slipstream_decoders._kernels.simd.memory import read_f32, read_i32, write_i32
from slipstream_decoders._kernels.simd.taps import HAS_WINDOWS, OUTPUTS_A_WINDOW, WINDOW

BLOCK: Final = 32
"""Outputs of one block."""
NARROW: Final = 64
"""A source row must have so many pixels."""
STEP_BYTES: Final = 128
"""Of one step of 16 outputs: which pixels, and weights."""
START_BYTES: Final = 16
"""Of one step of 16 outputs: where its windows start, int32."""

_DOWN_ONE: Final = 1 << 15
_ACROSS_ONE: Final = 1 << 14


class Rows(NamedTuple):
    """Taps down the columns."""

    firsts: int
    """Address of int32 an output row: its first source row. They never decrease."""
    weights: int
    """Address of the weights of an output row, ``taps`` of them: int16 twice, 15 bits each."""
    taps: int


class Columns(NamedTuple):
    """Taps across a row."""

    starts: int
    steps: int
    pairs: int
    """Steps of each 16 outputs."""
    blocks: int
    has_windows: bool | np.bool_
    """Whether steps tell bytes of windows, and not places in the row."""


@kernel
def rows_bytes(taps: int, outputs: int) -> int:
    """Bytes of a table of ``Rows``."""
    return 4 * (1 + taps) * outputs


@kernel
def num_blocks(outputs: int) -> int:
    """Blocks of a row of outputs."""
    return (outputs + BLOCK - 1) // BLOCK


@kernel
def columns_bytes(taps: int, outputs: int) -> int:
    """Bytes of a table of ``Columns``."""
    return 2 * num_blocks(outputs) * ((taps + 1) // 2) * (START_BYTES + STEP_BYTES)


@kernel
def fill_rows(floats: Filter, outputs: int, table: int) -> Rows:
    """Write the ``rows_bytes`` of a filter's taps."""
    weights = table + 4 * outputs
    for output in range(outputs):
        write_i32(table + 4 * output, read_i32(floats.table + 4 * output))
        source = floats.table + 4 * (floats.entries + output)
        target = weights + 4 * floats.taps * output
        total = np.float32(0.5)
        before = np.int64(0)
        for tap in range(floats.taps):
            total += read_f32(source + 4 * floats.entries * tap) * np.float32(_DOWN_ONE)
            after = np.int64(total)
            write_i32(target + 4 * tap, min(after - before, _DOWN_ONE - 1) * 0x10001)
            before = after
    return Rows(table, weights, floats.taps)


@kernel
def fill_columns(floats: Filter, outputs: int, width: int, table: int) -> Columns:
    """Write the ``columns_bytes`` of a filter's taps; source rows have ``width`` pixels."""
    pairs, blocks = (floats.taps + 1) // 2, num_blocks(outputs)
    starts = table + 2 * STEP_BYTES * pairs * blocks
    has_windows = HAS_WINDOWS and _are_near(floats, blocks, outputs)
    columns = Columns(starts, table, pairs, blocks, np.bool_(has_windows))
    for half in range(2 * blocks):
        output = _first_output(half, outputs)
        steps = table + STEP_BYTES * pairs * half
        _fill_weights(floats, output, pairs, steps + 64)
        if has_windows:
            _fill_windows(floats, output, pairs, width, starts, steps)
            starts += START_BYTES * pairs
        else:
            _fill_places(floats, output, pairs, width, steps)
    return columns


@kernel
def _first_output(half: int, outputs: int) -> int:
    """The first output of half a block."""
    return min(half // 2 * BLOCK, max(outputs - BLOCK, 0)) + half % 2 * 16


@kernel
def _are_near(floats: Filter, blocks: int, outputs: int) -> bool:
    """Whether the pixels of all outputs that share a window lie in one."""
    most = 0
    for half in range(2 * blocks):
        first = floats.table + 4 * _first_output(half, outputs)
        for number in range(0, 16, OUTPUTS_A_WINDOW):
            last = number + OUTPUTS_A_WINDOW - 1
            most = max(most, abs(read_i32(first + 4 * number) - read_i32(first + 4 * last)))
    return most + 2 <= WINDOW


@kernel
def _fill_weights(floats: Filter, output: int, pairs: int, target: int) -> None:
    """The weights of 16 outputs; a tap that there is not weighs nothing."""
    for each in range(output, output + 16):
        source = floats.table + 4 * (floats.entries + each)
        total = np.float32(0.5)
        before = np.int64(0)
        for pair in range(pairs):
            total += read_f32(source) * np.float32(_ACROSS_ONE)
            middle = np.int64(total)
            if 2 * pair + 1 < floats.taps:
                total += read_f32(source + 4 * floats.entries) * np.float32(_ACROSS_ONE)
            after = np.int64(total)
            write_i32(target + STEP_BYTES * pair, middle - before | (after - middle) << 16)
            before = after
            source += 8 * floats.entries
        target += 4


@kernel
def _fill_windows(
    floats: Filter, output: int, pairs: int, width: int, start: int, step: int
) -> None:
    """Where windows start, and which two bytes of them 16 outputs take."""
    firsts = floats.table + 4 * output
    for pair in range(pairs):
        for number in range(0, 16, OUTPUTS_A_WINDOW):
            last = number + OUTPUTS_A_WINDOW - 1
            left = min(read_i32(firsts + 4 * number), read_i32(firsts + 4 * last)) + 2 * pair
            window = min(left, width - WINDOW)
            write_i32(start + 4 * (number // OUTPUTS_A_WINDOW), window)
            for each in range(number, number + OUTPUTS_A_WINDOW):
                place = read_i32(firsts + 4 * each) + 2 * pair - window
                write_i32(step + 4 * each, place * 0x10001 + 0x80018000)
        start += START_BYTES
        step += STEP_BYTES


@kernel
def _fill_places(floats: Filter, output: int, pairs: int, width: int, step: int) -> None:
    """Where in the row the two pixels of 16 outputs are."""
    for pair in range(pairs):
        for each in range(16):
            place = read_i32(floats.table + 4 * (output + each)) + 2 * pair
            if place == width - 1:  # the last pixel, and none after it
                place = width - 2
                weight = step + 64 + 4 * each
                write_i32(weight, read_i32(weight) << 16)
            write_i32(step + 4 * each, place)
        step += STEP_BYTES

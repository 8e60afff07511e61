"""Markers of a JPEG file -> its header, with everything checked that later code relies on.

Taken are baseline and extended sequential JPEGs of 8 bits with Huffman codes, gray or YCbCr in one
interleaved scan, whose chroma is sampled 1, 2 or 4 times coarser than luma in either direction. The
colour space is found as libjpeg finds it. What is valid but not taken is ``UNSUPPORTED``, and so is
what a lenient decoder might make sense of; what no decoder can use is ``CORRUPT``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.workspace import MAX_BLOCKS
from slipstream_decoders._kernels.simd.memory import read_u8
from slipstream_decoders._kernels.status import CORRUPT, OK, UNSUPPORTED

HEIGHT: Final = 0
WIDTH: Final = 1
NUM_COMPONENTS: Final = 2
RESTART: Final = 3
"""MCUs in a restart interval, 0 without."""
SCAN: Final = 4
"""Offset of the first byte of entropy-coded data."""
MCU_HEIGHT: Final = 5
"""Luma pixels."""
MCU_WIDTH: Final = 6
MCU_ROWS: Final = 7
MCUS_ACROSS: Final = 8
RATIO_Y: Final = 9
"""Luma pixels for one chroma pixel; 0 in a gray image."""
RATIO_X: Final = 10
_TRANSFORM: Final = 11  # of an Adobe segment, plus 1
_IS_JFIF: Final = 12
COMPONENTS: Final = 16
"""Words for each of three components, ``COMPONENT_WORDS`` apart."""
COMPONENT_WORDS: Final = 8
ACROSS: Final = 0
"""Blocks of the component in an MCU."""
DOWN: Final = 1
QUANTISATION: Final = 2
"""Number of its quantisation table."""
DC: Final = 3
"""Number of its Huffman tables."""
AC: Final = 4
_IDENTIFIER: Final = 5
QUANTISATIONS: Final = 40
"""For each of four tables, offset of its first value, negated if values have 16 bits; 0: none."""
HUFFMANS: Final = 44
"""Offsets of the counts of the four DC tables, then of the four AC tables; 0: none."""
HEADER_WORDS: Final = 52

_SOI, _EOI, _SOS, _DQT, _DRI, _DHT = 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xC4


@kernel
def parse_header(payload: int, size: int, header: NDArray[np.int64]) -> int:
    """Read the segments up to the first entropy-coded byte.

    Parameters
    ----------
    payload, size : int
        Address and bytes of a JPEG file. Nothing past its end is read.
    header : ndarray of int64, shape (HEADER_WORDS,)
        Written; valid if the result is ``OK``.

    Returns
    -------
    int
        ``OK``, ``CORRUPT`` or ``UNSUPPORTED``.
    """
    header[:] = 0
    if size < 4 or read_u8(payload) != 0xFF or read_u8(payload + 1) != _SOI:
        return CORRUPT
    at = np.int64(2)
    while True:
        if at >= size:
            return CORRUPT
        if read_u8(payload + at) != 0xFF:
            return UNSUPPORTED
        at = after_fill_bytes(payload, size, at)
        if at >= size:
            return CORRUPT
        code = np.int64(read_u8(payload + at))
        at += 1
        if code == 0x01 or 0xD0 <= code <= 0xD7:
            continue
        if code == 0 or code in (_SOI, _EOI):
            return CORRUPT
        if at + 2 > size:
            return CORRUPT
        end = at + _read_u16(payload + at)
        if end < at + 2 or end > size:
            return CORRUPT
        status = _read_segment(payload, code, at + 2, end, header)
        if status != OK:
            return status
        if code == _SOS:
            header[SCAN] = end
            return _finish(header, size - end)
        at = end


@kernel
def after_fill_bytes(payload: int, size: int, at: int) -> int:
    """Offset of the first byte from ``at`` on that is not 0xFF; ``size`` if there is none."""
    while at < size and read_u8(payload + at) == 0xFF:
        at += 1
    return at


@kernel
def _read_u16(address: int) -> int:
    value: int = np.int64(read_u8(address)) * 256 + np.int64(read_u8(address + 1))
    return value


@kernel
def _read_segment(payload: int, code: int, at: int, end: int, header: NDArray[np.int64]) -> int:
    """One segment whose content is the bytes ``at`` .. ``end - 1``."""
    if code == _DQT:
        return _read_quantisations(payload, at, end, header)
    if code == _DHT:
        return _read_huffmans(payload, at, end, header)
    if code in (0xC0, 0xC1):
        return _read_frame(payload, at, end, header)
    if code == _SOS:
        return _read_scan(payload, at, end, header)
    if code == _DRI:
        if end - at != 2:
            return CORRUPT
        header[RESTART] = _read_u16(payload + at)
    elif code == 0xE0:
        if end - at >= 14 and _is_text(payload + at, 0x4A464946, 0):
            header[_IS_JFIF] = 1
    elif code == 0xEE:
        if end - at >= 12 and _is_text(payload + at, 0x41646F62, 0x65):
            header[_TRANSFORM] = np.int64(read_u8(payload + at + 11)) + 1
    elif 0xC2 <= code <= 0xCF or 0x02 <= code <= 0xBF or 0xDC <= code <= 0xDF or code >= 0xF0:
        return OK if code == 0xFE else UNSUPPORTED
    return OK


@kernel
def _is_text(address: int, first: int, last: int) -> bool:
    """Whether five bytes are these: four in ``first``, most significant first, then ``last``."""
    for i in range(4):
        if np.int64(read_u8(address + i)) != (first >> (24 - 8 * i)) & 255:
            return False
    return read_u8(address + 4) == last


@kernel
def _read_quantisations(payload: int, at: int, end: int, header: NDArray[np.int64]) -> int:
    while at < end:
        precision_and_number = np.int64(read_u8(payload + at))
        precision, number = precision_and_number >> 4, precision_and_number & 15
        if precision > 1 or number > 3 or at + 1 + 64 * (precision + 1) > end:
            return CORRUPT
        at += 1
        header[QUANTISATIONS + number] = -at if precision == 1 else at
        at += 64 * (precision + 1)
    return OK


@kernel
def _read_huffmans(payload: int, at: int, end: int, header: NDArray[np.int64]) -> int:
    while at < end:
        kind_and_number = np.int64(read_u8(payload + at))
        kind, number = kind_and_number >> 4, kind_and_number & 15
        at += 1
        if kind > 1 or number > 3 or at + 16 > end:
            return CORRUPT
        total = np.int64(0)
        for i in range(16):
            total += np.int64(read_u8(payload + at + i))
        if total > 256 or at + 16 + total > end:
            return CORRUPT
        header[HUFFMANS + 4 * kind + number] = at
        at += 16 + total
    return OK


@kernel
def _read_frame(payload: int, at: int, end: int, header: NDArray[np.int64]) -> int:
    if header[NUM_COMPONENTS] != 0 or end - at < 6:
        return CORRUPT
    num = np.int64(read_u8(payload + at + 5))
    if end - at != 6 + 3 * num:
        return CORRUPT
    if read_u8(payload + at) != 8 or num not in (1, 3):
        return UNSUPPORTED
    header[HEIGHT] = _read_u16(payload + at + 1)
    header[WIDTH] = _read_u16(payload + at + 3)
    if header[WIDTH] == 0:
        return CORRUPT
    if header[HEIGHT] == 0:  # a marker after the scan tells it
        return UNSUPPORTED
    for c in range(num):
        source = payload + at + 6 + 3 * c
        words = COMPONENTS + COMPONENT_WORDS * c
        factors = np.int64(read_u8(source + 1))
        header[words + _IDENTIFIER] = read_u8(source)
        header[words + ACROSS] = factors >> 4
        header[words + DOWN] = factors & 15
        header[words + QUANTISATION] = read_u8(source + 2)
        if (
            not (1 <= factors >> 4 <= 4 and 1 <= factors & 15 <= 4)
            or header[words + QUANTISATION] > 3
        ):
            return CORRUPT
    header[NUM_COMPONENTS] = num
    return OK


@kernel
def _read_scan(payload: int, at: int, end: int, header: NDArray[np.int64]) -> int:
    if header[NUM_COMPONENTS] == 0 or end - at < 1:
        return CORRUPT
    num = np.int64(read_u8(payload + at))
    if end - at != 4 + 2 * num:
        return CORRUPT
    if num != header[NUM_COMPONENTS]:
        return UNSUPPORTED
    for c in range(num):
        words = COMPONENTS + COMPONENT_WORDS * c
        if header[words + _IDENTIFIER] != np.int64(read_u8(payload + at + 1 + 2 * c)):
            return UNSUPPORTED
        numbers = np.int64(read_u8(payload + at + 2 + 2 * c))
        header[words + DC] = numbers >> 4
        header[words + AC] = numbers & 15
        if numbers >> 4 > 3 or numbers & 15 > 3:
            return CORRUPT
    last = payload + at + 1 + 2 * num
    is_sequential = read_u8(last) == 0 and read_u8(last + 1) == 63 and read_u8(last + 2) == 0
    return OK if is_sequential else UNSUPPORTED


@kernel
def _finish(header: NDArray[np.int64], scan_bytes: int) -> int:
    """What follows from the segments: all tables are there, and the geometry."""
    num = header[NUM_COMPONENTS]
    if num == 1:  # a scan of one component has MCUs of one block, whatever its factors are
        header[COMPONENTS + ACROSS] = 1
        header[COMPONENTS + DOWN] = 1
    elif not _is_ycbcr(header) or not _set_ratios(header):
        return UNSUPPORTED
    num_blocks = np.int64(0)
    for c in range(num):
        words = COMPONENTS + COMPONENT_WORDS * c
        num_blocks += header[words + ACROSS] * header[words + DOWN]
        if (
            header[QUANTISATIONS + header[words + QUANTISATION]] == 0
            or header[HUFFMANS + header[words + DC]] == 0
            or header[HUFFMANS + 4 + header[words + AC]] == 0
        ):
            return UNSUPPORTED  # some decoders know tables that many files leave out
    if num_blocks > MAX_BLOCKS:
        return CORRUPT
    header[MCU_WIDTH] = 8 * header[COMPONENTS + ACROSS]
    header[MCU_HEIGHT] = 8 * header[COMPONENTS + DOWN]
    header[MCUS_ACROSS] = (header[WIDTH] + header[MCU_WIDTH] - 1) // header[MCU_WIDTH]
    header[MCU_ROWS] = (header[HEIGHT] + header[MCU_HEIGHT] - 1) // header[MCU_HEIGHT]
    # a block has two codes, of a bit at least: no work for images that cannot be there
    if 2 * num_blocks * header[MCU_ROWS] * header[MCUS_ACROSS] > 8 * scan_bytes:
        return CORRUPT
    return OK


@kernel
def _is_ycbcr(header: NDArray[np.int64]) -> bool:
    """libjpeg's guess of the colour space of three components."""
    if header[_IS_JFIF] == 1:
        return True
    if header[_TRANSFORM] != 0:
        return bool(header[_TRANSFORM] == 2)
    step = COMPONENT_WORDS
    first = COMPONENTS + _IDENTIFIER
    return not (
        header[first] == 0x52 and header[first + step] == 0x47 and header[first + 2 * step] == 0x42
    )


@kernel
def _set_ratios(header: NDArray[np.int64]) -> bool:
    """Whether both chroma planes are 1, 2 or 4 times coarser than luma in each direction."""
    blue, red = COMPONENTS + COMPONENT_WORDS, COMPONENTS + 2 * COMPONENT_WORDS
    across, down = header[blue + ACROSS], header[blue + DOWN]
    if header[red + ACROSS] != across or header[red + DOWN] != down:
        return False
    header[RATIO_X] = header[COMPONENTS + ACROSS] // across
    header[RATIO_Y] = header[COMPONENTS + DOWN] // down
    if header[RATIO_X] * across != header[COMPONENTS + ACROSS]:
        return False
    if header[RATIO_Y] * down != header[COMPONENTS + DOWN]:
        return False
    return header[RATIO_X] in (1, 2, 4) and header[RATIO_Y] in (1, 2, 4)

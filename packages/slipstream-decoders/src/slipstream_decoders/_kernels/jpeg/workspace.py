"""One thread's memory for decoding: offsets in bytes from a base that is a multiple of 64.

Everything that changes while a scan is decoded lies here and not in arrays or tuples, so that the
inner loops have addresses and nothing else. The destuffed bytes and the planes lie elsewhere: their
sizes depend on the image.
"""

from __future__ import annotations

from typing import Final

MAX_BLOCKS: Final = 10
"""Blocks of one MCU, at most."""

BLOCK_BYTES: Final = 33 * 64
"""16 blocks, a block a lane: int16 ``[column][pair of rows][lane][2]``, the pairs being the
``PAIRS``; and a pair for what lies past the block's end."""
PAIRS: Final = ((0, 4), (2, 6), (7, 1), (3, 5))
"""Rows, and columns, that meet in the sums of the inverse DCT."""

TARGETS: Final = 0
"""int64 a lane: address of the block's first row in its plane."""
STEPS: Final = 128
"""int64 a lane: bytes from one row to the next."""
BLOCKS: Final = 256
"""Coefficients of the 16 blocks in hand; all zero before a block is decoded into a lane."""
SPARE: Final = BLOCKS + BLOCK_BYTES
"""Coefficients, and pixels, that nobody wants."""
ROWS: Final = SPARE + BLOCK_BYTES
"""int16 ``[row][pair of columns][lane][2]``: blocks after the first pass of the IDCT."""
ADDRESSES: Final = ROWS + 32 * 64
"""int64 ``[row][lane]``: where each row of a block goes."""
MCU: Final = ADDRESSES + 8 * 128
"""A descriptor for each block of an MCU: 8 int64 each."""
PREDICTORS: Final = MCU + 64 * MAX_BLOCKS
"""int32 a component, 64 bytes apart."""
READER: Final = PREDICTORS + 3 * 64
"""Where the entropy decoder is."""
SECOND: Final = 3 * 64 + 128
"""From the predictors and the reader of a row of MCUs to those of another one."""
COMPONENT_TABLES: Final = READER + 128 + SECOND
"""For each component, 64 bytes apart, the first words of its blocks' descriptors."""
QUANTISERS: Final = COMPONENT_TABLES + 3 * 64
"""Four tables of ``QUANTISER_BYTES``."""

# A descriptor of a block
DC_TABLE: Final = 0
AC_TABLE: Final = 8
QUANTISER: Final = 16
PREDICTOR: Final = 24
TARGET: Final = 32
"""Address of the block's first pixel in the MCU that comes next."""
TARGET_STEP: Final = 40
"""Bytes from this MCU's block to the next one's."""
PITCH: Final = 48
ROW_STEP: Final = 56
"""Bytes from this row's first block to that of the row of MCUs below."""

# The reader
POSITION: Final = READER
"""Address of the byte with the next bit, in the destuffed bytes."""
BIT: Final = READER + 8
"""How many bits of that byte have been used."""
DATA_END: Final = READER + 16
"""End of the destuffed bytes."""
SOURCE: Final = READER + 24
"""Address of the first byte of the payload that is not destuffed."""
SOURCE_END: Final = READER + 32
MCUS_LEFT: Final = READER + 40
"""MCUs before the next restart marker; a large number if there is none to come."""
RESTARTS: Final = READER + 48
"""Restart markers met so far, modulo 8."""
RESTART_INTERVAL: Final = READER + 56
"""MCUs from one restart marker to the next; 0 without them."""
BYTES: Final = READER + 64
"""Address where destuffed bytes are put."""
STARTED: Final = READER + 72
"""Address of the byte of the payload that the first destuffed byte comes from."""

QUANTISER_ENTRIES: Final = 256
"""Every number that the position in a block can reach, also in damaged data, and more."""
QUANTISER_BYTES: Final = 8 * QUANTISER_ENTRIES
"""Entries of two int32: offset of a coefficient in a block of 16 lanes, its factor."""

TABLES: Final = QUANTISERS + 4 * QUANTISER_BYTES
"""Huffman tables of recent images, see ``tables``."""
LOOKUP_BITS: Final = 11
DC_LOOKUP_BITS: Final = 9
LIMITS: Final = 8 << LOOKUP_BITS
"""In a table, int32 a code length 0..17: the first 16 bits that are no code of it or shorter."""
FIRST_VALUES: Final = LIMITS + 4 * 18
"""int32 a code length: what to add to a code to get the number of its value."""
VALUES: Final = FIRST_VALUES + 4 * 18
"""uint8: the symbols in order of their codes."""
KEY: Final = VALUES + 256
"""The 16 counts and the symbols that the table was made of, after int64 their number of bytes."""
TABLE_BYTES: Final = KEY + 8 + 272
WAYS: Final = 2
"""Tables that are kept for each of the 8 places that a JPEG can define."""
GROUP_BYTES: Final = 64 + WAYS * TABLE_BYTES
"""A group starts with int64: which of its tables is the oldest."""

WORKSPACE_BYTES: Final = TABLES + 8 * GROUP_BYTES + 64
"""What a thread allocates, zeroed, with room to align the base."""

DATA_SLACK: Final = 4096
"""Bytes after the destuffed ones that a damaged MCU may read before it is noticed."""

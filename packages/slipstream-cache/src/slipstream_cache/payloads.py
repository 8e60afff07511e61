"""Where the values of a batch are in memory, and copying images into a buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
import xxhash
from numpy.typing import NDArray

from slipstream_cache._kernels.gather import copy_payloads

_READ_ONLY: Final = 0x100  # PyBUF_READ
_memory_at = cast(
    Callable[[int, int, int], memoryview],
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
        ("PyMemoryView_FromMemory", ctypes.pythonapi)
    ),
)


@dataclass(frozen=True, eq=False)
class Payloads:
    """Addresses and headers of B encoded images, without a copy of their bytes.

    Notes
    -----
    The addresses point into read-only maps and are valid while this object lives (``owner``).
    At least ``layout.PAYLOAD_PADDING_BYTES`` bytes may be read past each payload's end.
    """

    addresses: NDArray[np.int64]
    """Shape (B,): address of the first byte."""
    sizes: NDArray[np.int64]
    """Shape (B,): bytes."""
    heights: NDArray[np.int32]
    """Shape (B,): pixels, as stored (before EXIF orientation)."""
    widths: NDArray[np.int32]
    """Shape (B,)."""
    codecs: NDArray[np.uint8]
    """Shape (B,): ``Codec``."""
    orientations: NDArray[np.uint8]
    """Shape (B,): EXIF orientation 1..8, 0 for none."""
    conditions: NDArray[np.uint8]
    """Shape (B,): ``Condition``."""
    checksums: NDArray[np.uint64]
    """Shape (B,): xxh3_64 of each payload, as it was built."""
    owner: object = field(repr=False)
    """Keeps the maps alive."""

    def __len__(self) -> int:
        return len(self.addresses)


@dataclass(frozen=True, eq=False)
class Blobs:
    """Addresses of B values of varying length, without a copy of their bytes.

    Notes
    -----
    The addresses point into read-only maps and are valid while this object lives (``owner``).
    """

    addresses: NDArray[np.int64]
    """Shape (B,): address of the first byte."""
    sizes: NDArray[np.int64]
    """Shape (B,): bytes."""
    owner: object = field(repr=False)
    """Keeps the maps alive."""

    def __len__(self) -> int:
        return len(self.addresses)


def gather(
    payloads: Payloads,
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    begin: int = 0,
    end: int | None = None,
) -> None:
    """Copy payloads into a buffer of the caller.

    Several threads may fill one buffer, each with a range of its own; the GIL is released.

    Parameters
    ----------
    payloads : Payloads
        B images.
    out : ndarray of uint8, shape (bytes,)
        Contiguous and writable. Bytes between the payloads are left as they are.
    offsets : ndarray of int64, shape (B,)
        Where in ``out`` each payload begins. The ranges should not overlap.
    begin, end : int
        Half-open range of the images to copy; by default all.

    Raises
    ------
    ValueError
        ``out`` or ``offsets`` has another dtype, shape or layout.
    IndexError
        A payload would not fit in ``out``, or the range is not within the batch.
    """
    stop = len(payloads) if end is None else end
    if out.dtype != np.uint8 or out.ndim != 1 or not out.flags.carray:
        raise ValueError("out must be a contiguous, writable 1-D array of uint8")
    if offsets.dtype != np.int64 or offsets.shape != (len(payloads),):
        raise ValueError(
            f"offsets must be int64 of shape ({len(payloads)},), "
            f"got {offsets.dtype} of shape {offsets.shape}"
        )
    if not 0 <= begin <= stop <= len(payloads):
        raise IndexError(f"range [{begin}, {stop}) is not within {len(payloads)} images")
    if begin == stop:
        return
    starts, sizes = offsets[begin:stop], payloads.sizes[begin:stop]
    if starts.min() < 0 or (starts > out.size - sizes).any():
        raise IndexError(f"the payloads do not fit in the {out.size} bytes of out")
    copy_payloads(payloads.addresses, payloads.sizes, out.ctypes.data, offsets, begin, stop)


def verify_payloads(payloads: Payloads) -> NDArray[np.bool_]:
    """Tell which payloads are byte for byte those that were built.

    It reads all their bytes, at about 8 GB/s a thread from memory, and may be called from several
    threads.

    Parameters
    ----------
    payloads : Payloads
        B images of a cache or a derived field.

    Returns
    -------
    ndarray of bool, shape (B,)
        False where the checksum is another.
    """
    places = zip(payloads.addresses.tolist(), payloads.sizes.tolist(), strict=True)
    digest = xxhash.xxh3_64_intdigest
    found = [
        digest(_memory_at(address, size, _READ_ONLY)) if size else digest(b"")
        for address, size in places
    ]
    return np.equal(np.array(found, np.uint64), payloads.checksums)

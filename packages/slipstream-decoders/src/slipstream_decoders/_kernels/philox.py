"""Philox 4x32-10 (Salmon et al., SC 2011)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53


@kernel
def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Ten rounds on the counter (c0..c3) under the key (k0, k1): 32-bit words held in uint64."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _HALF) ^ c1 ^ k0,
            p1 & _MASK,
            (p0 >> _HALF) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@kernel
def block(key: Any, sample_id: Any, occurrence: Any, number: Any) -> Any:
    """Block ``number`` of a sample's stream: four 32-bit words."""
    sample = np.uint64(sample_id)
    return philox4x32(
        sample & _MASK,
        sample >> _HALF,
        np.uint64(occurrence) & _MASK,
        np.uint64(number),
        key & _MASK,
        key >> _HALF,
    )


@kernel
def unit(high: Any, low: Any) -> Any:
    """Two 32-bit words -> float64 in [0, 1), 53 random bits."""
    return (
        np.float64(high >> np.uint64(5)) * 67108864.0 + np.float64(low >> np.uint64(6))
    ) * _TO_UNIT


@kernel
def fill_uniforms(
    key: Any,
    sample_ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Fill ``out`` (B, count); block n of a sample gives its numbers 2n and 2n + 1."""
    count = out.shape[1]
    for row in range(out.shape[0]):
        for pair in range((count + 1) // 2):
            w0, w1, w2, w3 = block(key, sample_ids[row], occurrences[row], pair)
            out[row, 2 * pair] = unit(w0, w1)
            if 2 * pair + 1 < count:
                out[row, 2 * pair + 1] = unit(w2, w3)


@kernel
def fill_words(key: Any, out: NDArray[np.uint64]) -> None:
    """Fill ``out`` with 64-bit words: block n gives words 2n and 2n + 1."""
    for pair in range((out.size + 1) // 2):
        w0, w1, w2, w3 = block(key, pair, 0, 0)
        out[2 * pair] = (w0 << _HALF) | w1
        if 2 * pair + 1 < out.size:
            out[2 * pair + 1] = (w2 << _HALF) | w3

"""Operations on pairs of 16-bit numbers: on this processor, and as plain operations elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import njit
from numba.core import types

from slipstream_decoders._kernels.simd import pairs
from slipstream_decoders._kernels.simd.vectors import I16, I32, LANES, define, load, store


def _emit_products(builder: Any, source: Any, target: Any) -> None:
    halves = load(builder, ir.VectorType(I16, 2 * LANES), source)
    store(builder, pairs.pair_products(builder, halves, -7373, 4926), target)


def _emit_packed(builder: Any, source: Any, target: Any) -> None:
    words = [load(builder, ir.VectorType(I32, LANES), source, 64 * i) for i in range(4)]
    store(builder, pairs.pack_bytes(builder, words), target)


def _apply(emit: Callable[..., None], source: np.ndarray, target: np.ndarray) -> np.ndarray:
    operation = define(emit.__name__, types.void, [types.int64] * 2, emit)

    @njit
    def run(source: int, target: int) -> None:
        operation(source, target)

    run(source.ctypes.data, target.ctypes.data)
    return target


@pytest.mark.parametrize("width", ["own", "plain"])
def test_products_and_bytes_are_exact(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any 16-bit numbers; 32-bit numbers are clamped, four lanes of each vector in turn."""
    if width == "plain":
        monkeypatch.setattr(pairs, "_width", lambda: 0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        halves = rng.integers(-(1 << 15), 1 << 15, 32).astype(np.int16)
        products = _apply(_emit_products, halves, np.zeros(16, np.int32))
        first, second = halves.astype(np.int64).reshape(16, 2).T
        np.testing.assert_array_equal(products, first * -7373 + second * 4926)
        words = rng.integers(-400, 700, (4, 16)).astype(np.int32)
        packed = _apply(_emit_packed, words, np.zeros(64, np.uint8))
        expected = np.clip(words, 0, 255).reshape(4, 4, 4).transpose(1, 0, 2).reshape(-1)
        np.testing.assert_array_equal(packed, expected)

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
from slipstream_decoders._kernels.simd.vectors import I8, I16, I32, LANES, define, load, store


def _emit_products(builder: Any, source: Any, target: Any) -> None:
    halves = load(builder, ir.VectorType(I16, 2 * LANES), source)
    store(builder, pairs.pair_products(builder, halves, -7373, 4926), target)


def _emit_packed(builder: Any, source: Any, target: Any) -> None:
    words = [load(builder, ir.VectorType(I32, LANES), source, 64 * i) for i in range(4)]
    store(builder, pairs.pack_bytes(builder, words), target)


def _emit_rounded(builder: Any, source: Any, target: Any) -> None:
    halves = [load(builder, ir.VectorType(I16, 2 * LANES), source, 64 * i) for i in range(2)]
    store(builder, pairs.rounded_products(builder, *halves), target)


def _emit_halves(builder: Any, source: Any, target: Any) -> None:
    words = [load(builder, ir.VectorType(I32, LANES), source, 64 * i) for i in range(4)]
    packed = [pairs.pack_halves(builder, *words[i : i + 2]) for i in (0, 2)]
    for number, unpacked in enumerate(pairs.unpack_halves(builder, *packed)):
        store(builder, packed[number], target, 64 * number)
        store(builder, unpacked, target, 128 + 64 * number)


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
        factors = rng.integers(-(1 << 15), 1 << 15, 32).astype(np.int16)
        products = _apply(_emit_rounded, np.stack([halves, factors]), np.zeros(32, np.int16))
        exact = halves.astype(np.int64) * factors
        np.testing.assert_array_equal(products, ((exact + (1 << 14)) >> 15).astype(np.int16))


@pytest.mark.parametrize("width", ["own", "plain"])
def test_packing_and_unpacking_keep_the_order(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed by fours; unpacked, pairs are in the order in which the numbers were packed."""
    if width == "plain":
        monkeypatch.setattr(pairs, "_width", lambda: 0)
    words = np.arange(64, dtype=np.int32).reshape(2, 32)
    found = _apply(_emit_halves, words, np.zeros((4, 32), np.int16))
    np.testing.assert_array_equal(found[:2], words[:, pairs.PACKED])
    np.testing.assert_array_equal(found[2:].reshape(32, 2), words.T)


def _emit_picked(builder: Any, source: Any, target: Any) -> None:
    bytes_and_numbers = [load(builder, ir.VectorType(I8, 64), source, 64 * i) for i in range(2)]
    store(builder, pairs.pick_bytes(builder, *bytes_and_numbers), target)


@pytest.mark.skipif(not pairs.picks_bytes(), reason="the processor has no such instruction")
def test_picked_bytes() -> None:
    """Even bytes come from the windows, odd ones are zero."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (2, 64), dtype=np.uint8)
    numbers = rng.integers(0, 16, 64, dtype=np.uint8)
    if pairs.has_feature("avx512vbmi"):
        numbers += np.arange(64, dtype=np.uint8) // 16 * 16
    source[1] = np.where(np.arange(64) % 2, 128, numbers)
    picked = _apply(_emit_picked, source, np.zeros(64, np.uint8))
    windows = source[0] if pairs.has_feature("avx512vbmi") else source[0].reshape(4, 16)
    lanes = np.arange(64) // 16
    expected = (
        windows[numbers] if pairs.has_feature("avx512vbmi") else windows[lanes, numbers]
    ) * (np.arange(64) % 2 == 0)
    np.testing.assert_array_equal(picked, expected)

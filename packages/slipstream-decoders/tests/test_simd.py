"""The vector layer: each operation against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numpy.typing import NDArray

from slipstream_decoders._kernels.simd import arithmetic, half, memory, tiles, vectors

_GENERATOR = np.random.default_rng(0)
_FLOATS = _GENERATOR.normal(size=(3, 16)).astype(np.float32)
_BYTES = _GENERATOR.integers(0, 256, (3, 16), dtype=np.uint8)


def _run(function: Callable[..., None], *arrays: NDArray[Any]) -> None:
    """Compile a function of addresses, and run it on arrays."""
    njit(function)(*(array.ctypes.data for array in arrays))


def test_scalars_round_trip() -> None:
    """Every scalar width is read back as written, at an odd address too."""
    buffer = np.zeros(64, np.uint8)

    def write_all(address: int) -> None:
        memory.write_u8(address, 200)
        memory.write_i32(address + 1, -5)
        memory.write_f32(address + 5, 0.5)
        memory.write_f64(address + 9, 0.1)
        memory.write_f64(address + 24, memory.read_u8(address))
        memory.write_f64(address + 32, memory.read_i32(address + 1))
        memory.write_f64(address + 40, memory.read_f32(address + 5))
        memory.write_f64(address + 48, memory.read_f64(address + 9))

    _run(write_all, buffer)
    assert buffer[24:56].view(np.float64).tolist() == [200.0, -5.0, 0.5, 0.1]


def test_float_arithmetic() -> None:
    """+, -, *, division, multiply-add and splat on 16 lanes."""
    out = np.zeros((5, 16), np.float32)

    def compute(source: int, target: int) -> None:
        x, y, z = (
            memory.load_f32(source),
            memory.load_f32(source + 64),
            memory.load_f32(source + 128),
        )
        memory.store_f32(target, x + y)
        memory.store_f32(target + 64, x - y)
        memory.store_f32(target + 128, x * arithmetic.splat_f32(0.25))
        memory.store_f32(target + 192, arithmetic.divide(x, y))
        memory.store_f32(target + 256, arithmetic.multiply_add(x, y, z))

    _run(compute, _FLOATS, out)
    x, y, z = _FLOATS
    np.testing.assert_array_equal(out[:3], [x + y, x - y, x * np.float32(0.25)])
    np.testing.assert_allclose(out[3:], [x / y, x * y + z], rtol=1e-6, atol=1e-6)


def test_triangle() -> None:
    """max(1 - |x|, 0)."""
    source = np.linspace(-2, 2, 16, dtype=np.float32)
    out = np.zeros(16, np.float32)

    def compute(source: int, target: int) -> None:
        memory.store_f32(target, arithmetic.triangle(memory.load_f32(source)))

    _run(compute, source, out)
    np.testing.assert_array_equal(out, np.maximum(1 - np.abs(source), 0))


def test_bytes_become_floats() -> None:
    """Bytes are loaded as unsigned."""
    out = np.zeros(16, np.float32)

    def compute(source: int, target: int) -> None:
        memory.store_f32(target, memory.load_u8_as_f32(source))

    _run(compute, _BYTES, out)
    np.testing.assert_array_equal(out, _BYTES[0])


def test_fixed_point() -> None:
    """Integer lanes: multiply, add, drop 22 bits, clamp to a byte."""
    out = np.zeros((2, 16), np.uint8)

    def compute(source: int, target: int) -> None:
        x = memory.load_u8_as_i32(source)
        half = arithmetic.splat_i32(1 << 21)
        memory.store_u8(
            target, arithmetic.fixed_to_bytes(x * arithmetic.splat_i32(6_291_456) + half)
        )
        memory.store_u8(
            target + 16, arithmetic.fixed_to_bytes(half - x * arithmetic.splat_i32(1_000_000))
        )

    _run(compute, _BYTES, out)
    x = _BYTES[0].astype(np.int64)
    np.testing.assert_array_equal(out[0], np.clip((x * 6_291_456 + (1 << 21)) >> 22, 0, 255))
    np.testing.assert_array_equal(out[1], np.clip(((1 << 21) - x * 1_000_000) >> 22, 0, 255))


_Emit = Callable[[Any, Any], Any]


@pytest.mark.parametrize("emit", [half.to_half, half.to_half_by_bits])
def test_half_precision(emit: _Emit) -> None:
    """Both conversions round as NumPy does: every exponent, ties, subnormals, infinities, NaN."""

    def store_half(builder: Any, address: Any, vector: Any) -> None:
        vectors.store(builder, emit(builder, vector), address)

    convert = vectors.define("store_half", types.void, [types.int64, vectors.FLOATS], store_half)
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x2000, 0x3000, 0xFFFF], np.uint32)
    source = (upper[:, None] | lower).ravel().view(np.float32)
    out = np.zeros(source.size, np.float16)

    def compute(source: int, target: int, count: int) -> None:
        for at in range(0, count, 16):
            convert(target + 2 * at, memory.load_f32(source + 4 * at))

    compiled: Any = njit(compute)
    compiled(source.ctypes.data, out.ctypes.data, source.size)
    with np.errstate(all="ignore"):
        expected = source.astype(np.float16)
    is_number = ~np.isnan(source)
    np.testing.assert_array_equal(
        out.view(np.uint16)[is_number], expected.view(np.uint16)[is_number]
    )
    assert np.isnan(out[~is_number]).all()


def test_transposes() -> None:
    """A 16 x 16 tile inside of a larger array, to a target with another pitch."""
    source = np.arange(20 * 24).reshape(20, 24).astype(np.uint8)
    target = np.zeros((17, 30), np.uint8)

    def compute(source: int, target: int) -> None:
        tiles.transpose_tile_u8(source + 2 * 24 + 5, 24, target + 3, 30)

    _run(compute, source, target)
    np.testing.assert_array_equal(target[:16, 3:19], source[2:18, 5:21].T)
    target[:16, 3:19] = 0
    assert not target.any()

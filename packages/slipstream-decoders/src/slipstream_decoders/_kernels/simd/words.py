"""Scalar words at int64 addresses, as bit readers want them. Nothing is checked."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I16,
    I32,
    I64,
    Builder,
    Value,
    constant,
    define,
    load,
    store,
)


def _read_i64(builder: Builder, address: Value) -> Value:
    return load(builder, I64, address)


def _read_i16(builder: Builder, address: Value) -> Value:
    return builder.sext(load(builder, I16, address), I64)


def _read_big_endian(builder: Builder, address: Value) -> Value:
    swap = builder.module.declare_intrinsic("llvm.bswap", [I64])
    return builder.call(swap, [load(builder, I64, address)])


def _write_i16(builder: Builder, address: Value, value: Value) -> None:
    store(builder, builder.trunc(value, I16), address)


def _trailing_zeros(builder: Builder, value: Value) -> Value:
    return builder.cttz(value, ir.Constant(ir.IntType(1), 1))


def _mark_ones(builder: Builder, source: Value) -> Value:
    return _ones_of(builder, load(builder, ir.VectorType(I8, 32), source))


def _copy_marking_ones(builder: Builder, source: Value, target: Value) -> Value:
    block = load(builder, ir.VectorType(I8, 32), source)
    store(builder, block, target)
    return _ones_of(builder, block)


def _ones_of(builder: Builder, block: Value) -> Value:
    is_ones = builder.icmp_unsigned("==", block, constant(I8, [255] * 32))
    return builder.zext(builder.bitcast(is_ones, I32), I64)


read_i64: Callable[[int], int] = define("read_i64", types.int64, [types.int64], _read_i64)

read_i16: Callable[[int], int] = define("read_i16", types.int64, [types.int64], _read_i16)
"""Sign-extended."""

read_big_endian: Callable[[int], int] = define(
    "read_big_endian", types.uint64, [types.int64], _read_big_endian
)
"""8 bytes, the first one most significant, as uint64."""

write_i16: Callable[[int, int], None] = define(
    "write_i16", types.void, [types.int64, types.int64], _write_i16
)
"""The low 16 bits of a number."""

trailing_zeros: Callable[[int], int] = define(
    "trailing_zeros", types.int64, [types.int64], _trailing_zeros
)
"""Zero bits below the lowest one; the number is not 0."""

mark_ones: Callable[[int], int] = define("mark_ones", types.int64, [types.int64], _mark_ones)
"""Bit i of the result tells whether byte i of 32 is 0xFF."""

copy_marking_ones: Callable[[int, int], int] = define(
    "copy_marking_ones", types.int64, [types.int64, types.int64], _copy_marking_ones
)
"""(source, target): copy 32 bytes; bit i of the result tells whether byte i is 0xFF."""

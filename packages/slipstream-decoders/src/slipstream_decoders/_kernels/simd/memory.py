"""Loads and stores at int64 addresses. Any alignment will do; nothing is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from slipstream_decoders._kernels.simd.vectors import (
    BYTES,
    F32,
    F64,
    FLOATS,
    I8,
    I32,
    INTS,
    LANES,
    Builder,
    Value,
    Vector,
    VectorType,
    define,
    load,
    store,
)

_memcpy: Any = cgutils.raw_memcpy
_declare: Any = cgutils.get_or_insert_function


def _reader(name: str, lane: ir.Type, result: types.Type) -> Any:
    def emit(builder: Builder, address: Value) -> Value:
        return load(builder, lane, address)

    return define(name, result, [types.int64], emit)


def _writer(name: str, argument: types.Type) -> Any:
    def emit(builder: Builder, address: Value, value: Value) -> None:
        store(builder, value, address)

    return define(name, types.void, [types.int64, argument], emit)


def _vector_loader(
    name: str,
    lane: ir.Type,
    result: VectorType,
    convert: Callable[[Builder, Value], Value] | None = None,
) -> Any:
    def emit(builder: Builder, address: Value) -> Value:
        value = load(builder, ir.VectorType(lane, LANES), address)
        return value if convert is None else convert(builder, value)

    return define(name, result, [types.int64], emit)


def _widen(builder: Builder, value: Value) -> Value:
    return builder.zext(value, ir.VectorType(I32, LANES))


def _to_float(builder: Builder, value: Value) -> Value:
    return builder.uitofp(value, ir.VectorType(F32, LANES))


def _copy(builder: Builder, source: Value, num_bytes: Value, target: Value) -> None:
    pointers = [builder.inttoptr(address, I8.as_pointer()) for address in (target, source)]
    _memcpy(builder, *pointers, num_bytes, 1)


def _prefetch(builder: Builder, address: Value) -> None:
    pointer, number = I8.as_pointer(), ir.Constant(I32, 1)
    kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    function = _declare(builder.module, kind, "llvm.prefetch.p0")
    to_read, near = ir.Constant(I32, 0), ir.Constant(I32, 3)
    builder.call(function, [builder.inttoptr(address, pointer), to_read, near, number])


read_u8: Callable[[int], int] = _reader("read_u8", I8, types.uint8)
read_i32: Callable[[int], int] = _reader("read_i32", I32, types.int32)
read_f32: Callable[[int], float] = _reader("read_f32", F32, types.float32)
read_f64: Callable[[int], float] = _reader("read_f64", F64, types.float64)

write_u8: Callable[[int, int], None] = _writer("write_u8", types.uint8)
write_i32: Callable[[int, int], None] = _writer("write_i32", types.int32)
write_i64: Callable[[int, int], None] = _writer("write_i64", types.int64)
write_f32: Callable[[int, float], None] = _writer("write_f32", types.float32)
write_f64: Callable[[int, float], None] = _writer("write_f64", types.float64)

load_f32: Callable[[int], Vector] = _vector_loader("load_f32", F32, FLOATS)
load_u8_as_i32: Callable[[int], Vector] = _vector_loader("load_u8_as_i32", I8, INTS, _widen)
load_u8_as_f32: Callable[[int], Vector] = _vector_loader("load_u8_as_f32", I8, FLOATS, _to_float)

store_u8: Callable[[int, Vector], None] = _writer("store_u8", BYTES)
store_f32: Callable[[int, Vector], None] = _writer("store_f32", FLOATS)

copy_memory: Callable[[int, int, int], None] = define(
    "copy_memory", types.void, [types.int64] * 3, _copy
)
"""(source, bytes, target): memcpy; the two do not overlap."""

prefetch: Callable[[int], None] = define("prefetch", types.void, [types.int64], _prefetch)
"""Fetch the 64 bytes around an address, which may be anything, into the caches."""

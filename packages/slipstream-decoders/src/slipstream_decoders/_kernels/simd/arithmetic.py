"""Lane-wise operations on vectors: ``+``, ``-``, ``*`` and the functions below."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import lower_builtin

from slipstream_decoders._kernels.simd.vectors import (
    BYTES,
    CONTRACT,
    F32,
    FLOATS,
    I8,
    I32,
    INTS,
    LANES,
    Builder,
    Value,
    Vector,
    define,
    same,
    splat,
)

_lower: Any = lower_builtin
_infer: Any = infer_global


def _operate(operation: Any, name: str) -> None:
    """Give ``operation`` a meaning for two integer or two float vectors."""

    def emit_ints(_context: Any, builder: Builder, _signature: Any, values: Any) -> Value:
        return getattr(builder, name)(*values)

    def emit_floats(_context: Any, builder: Builder, _signature: Any, values: Any) -> Value:
        return getattr(builder, f"f{name}")(*values, flags=CONTRACT)

    _lower(operation, INTS, INTS)(emit_ints)
    _lower(operation, FLOATS, FLOATS)(emit_floats)
    cases = [INTS(INTS, INTS), FLOATS(FLOATS, FLOATS)]
    _infer(operation)(type(f"_{name}", (ConcreteTemplate,), {"cases": cases}))


_operate(operator.add, "add")
_operate(operator.sub, "sub")
_operate(operator.mul, "mul")


def _multiply_add(builder: Builder, x: Value, y: Value, total: Value) -> Value:
    return builder.fadd(builder.fmul(x, y, flags=CONTRACT), total, flags=CONTRACT)


def _divide(builder: Builder, x: Value, y: Value) -> Value:
    return builder.fdiv(x, y, flags=CONTRACT)


def _triangle(builder: Builder, x: Value) -> Value:
    one, zero = same(F32, 1.0), same(F32, 0.0)
    rising = builder.fadd(one, x, flags=CONTRACT)
    falling = builder.fsub(one, x, flags=CONTRACT)
    lower = builder.select(builder.fcmp_ordered("<", rising, falling), rising, falling)
    return builder.select(builder.fcmp_ordered(">", lower, zero), lower, zero)


def clamp_to_byte(builder: Builder, value: Value) -> Value:
    """Clamp <n x i32> to 0..255; with a later truncation LLVM often makes it one instruction."""
    zero, top = same(I32, 0), same(I32, 255)
    value = builder.select(builder.icmp_signed(">", value, zero), value, zero)
    return builder.select(builder.icmp_unsigned("<", value, top), value, top)


def _round_to_bytes(builder: Builder, value: Value) -> Value:
    shifted = builder.ashr(value, same(I32, 22))
    return builder.trunc(clamp_to_byte(builder, shifted), ir.VectorType(I8, LANES))


multiply_add: Callable[[Vector, Vector, Vector], Vector] = define(
    "multiply_add", FLOATS, [FLOATS, FLOATS, FLOATS], _multiply_add
)
"""``x * y + total``, fused where the processor can."""

divide: Callable[[Vector, Vector], Vector] = define("divide", FLOATS, [FLOATS, FLOATS], _divide)

triangle: Callable[[Vector], Vector] = define("triangle", FLOATS, [FLOATS], _triangle)
"""``max(1 - abs(x), 0)``."""

splat_f32: Callable[[float], Vector] = define("splat_f32", FLOATS, [types.float32], splat)
splat_i32: Callable[[int], Vector] = define("splat_i32", INTS, [types.int32], splat)

fixed_to_bytes: Callable[[Vector], Vector] = define(
    "fixed_to_bytes", BYTES, [INTS], _round_to_bytes
)
"""Fixed point with 22 fractional bits -> its floor, clamped to 0..255, as bytes."""

"""float32 -> float16, on processors without an instruction for it too."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba.core import config

from slipstream_decoders._kernels.simd.vectors import (
    F16,
    F32,
    I16,
    I32,
    LANES,
    Builder,
    Value,
    same,
)

_config: Any = config


def has_native_half() -> bool:
    """Whether the processor compiled for converts float32 to float16 itself.

    LLVM calls a C function where it does not, and numba's process has no such function.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    host = binding.get_host_cpu_features().flatten()
    return "+f16c" in (_config.CPU_FEATURES or host).split(",")


def to_half(builder: Builder, value: Value) -> Value:
    """<16 x float> -> the bits of <16 x half> as <16 x i16>, rounded to nearest even."""
    if has_native_half():
        half = builder.fptrunc(value, ir.VectorType(F16, LANES))
        return builder.bitcast(half, ir.VectorType(I16, LANES))
    return to_half_by_bits(builder, value)


def to_half_by_bits(builder: Builder, value: Value) -> Value:
    """``to_half`` on any processor, with integers; NaN becomes a quiet NaN."""
    bits = builder.bitcast(value, ir.VectorType(I32, LANES))
    sign = builder.and_(bits, same(I32, 0x80000000))
    size = builder.xor(bits, sign)
    odd = builder.and_(builder.lshr(size, same(I32, 13)), same(I32, 1))
    rounded = builder.add(builder.add(size, same(I32, (15 - 127 << 23) + 0xFFF)), odd)
    normal = builder.lshr(rounded, same(I32, 13))
    # adding 0.5 leaves a subnormal half's bits at the end of the sum, rounded
    magic = same(F32, 0.5)
    total = builder.fadd(builder.bitcast(size, ir.VectorType(F32, LANES)), magic)
    subnormal = builder.sub(
        builder.bitcast(total, ir.VectorType(I32, LANES)), same(I32, 0x3F000000)
    )
    is_nan = builder.icmp_unsigned(">", size, same(I32, 0x7F800000))
    special = builder.select(is_nan, same(I32, 0x7E00), same(I32, 0x7C00))
    is_small = builder.icmp_unsigned("<", size, same(I32, 113 << 23))
    is_special = builder.icmp_unsigned(">=", size, same(I32, 143 << 23))
    finite = builder.select(is_small, subnormal, normal)
    half = builder.select(is_special, special, finite)
    result = builder.or_(half, builder.lshr(sign, same(I32, 16)))
    return builder.trunc(result, ir.VectorType(I16, LANES))

"""16-bit numbers in pairs: sums of two products, and 32-bit numbers packed to bytes.

x86 has an instruction for each of these, which LLVM does not find by itself; they are named here at
the width that the processor has. Elsewhere the same results come from plain operations.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache
from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils

from slipstream_decoders._kernels.simd.arithmetic import clamp_to_byte
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I16,
    I32,
    LANES,
    Builder,
    Value,
    constant,
    same,
    shuffle,
)

_config: Any = numba.config
_declare: Any = cgutils.get_or_insert_function
_WORDS = ir.VectorType(I32, LANES)
_INSTRUCTIONS = {
    512: ("avx512.pmaddw.d.512", "avx512.packssdw.512", "avx512.packuswb.512"),
    256: ("avx2.pmadd.wd", "avx2.packssdw", "avx2.packuswb"),
    128: ("sse2.pmadd.wd", "sse2.packssdw.128", "sse2.packuswb.128"),
}


@cache
def _width() -> int:
    """Bits of the widest x86 registers; 0 on other processors."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return 0
    host = binding.get_host_cpu_features().flatten()
    features = (_config.CPU_FEATURES or host).split(",")
    if "+avx512bw" in features and "+prefer-256-bit" not in features:
        return 512
    return 256 if "+avx2" in features else 128


def _in_registers(builder: Builder, which: int, lane: ir.Type, values: Sequence[Value]) -> Value:
    """Apply an x86 instruction to vectors of 512 bits, as many times as registers need.

    Its result has as many bits as an operand, in lanes of type ``lane``.
    """
    width = _width()
    operand = values[0].type
    lanes = operand.count * width // 512
    part = ir.VectorType(operand.element, lanes)
    kind = ir.VectorType(lane, width // lane.width)
    name = f"llvm.x86.{_INSTRUCTIONS[width][which]}"
    function_type = ir.FunctionType(kind, [part] * len(values))
    function = _declare(builder.module, function_type, name)
    results = []
    for start in range(0, operand.count, lanes):
        numbers = list(range(start, start + lanes))
        parts = [v if width == 512 else shuffle(builder, v, v, numbers) for v in values]
        results.append(builder.call(function, parts))
    while len(results) > 1:
        both = list(range(2 * results[0].type.count))
        results = [
            shuffle(builder, low, high, both)
            for low, high in zip(results[::2], results[1::2], strict=True)
        ]
    return results[0]


def pair_products(builder: Builder, pairs: Value, first: int, second: int) -> Value:
    """<32 x i16> -> <16 x i32>: lane i is ``pairs[2 * i] * first + pairs[2 * i + 1] * second``."""
    if _width():
        factors = constant(I16, [first, second] * LANES)
        return _in_registers(builder, 0, I32, [pairs, factors])
    words = builder.bitcast(pairs, _WORDS)
    high = builder.ashr(words, same(I32, 16))
    low = builder.ashr(builder.shl(words, same(I32, 16)), same(I32, 16))
    return builder.add(builder.mul(low, same(I32, first)), builder.mul(high, same(I32, second)))


def pack_bytes(builder: Builder, four: Sequence[Value]) -> Value:
    """Four <16 x i32>, clamped to 0..255 -> <64 x i8>: lanes 0-3 of each in turn, then 4-7 ..."""
    if _width():
        halves = [_in_registers(builder, 1, I16, four[i : i + 2]) for i in (0, 2)]
        return _in_registers(builder, 2, I8, halves)
    narrow = [builder.trunc(clamp_to_byte(builder, v), ir.VectorType(I8, LANES)) for v in four]
    both = list(range(2 * LANES))
    low, high = (shuffle(builder, narrow[i], narrow[i + 1], both) for i in (0, 2))
    order = [LANES * v + 4 * g + i for g in range(4) for v in range(4) for i in range(4)]
    return shuffle(builder, low, high, order)

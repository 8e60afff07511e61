"""16-bit numbers: sums of two products, rounded products; numbers packed; bytes picked.

x86 has an instruction for each of these, which LLVM does not find by itself; they are named here at
the width that the processor has. Elsewhere the same results come from plain operations.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numba
from llvmlite import binding, ir
from numba.core import cgutils

from slipstream_decoders._kernels.simd.arithmetic import clamp_to_byte
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I16,
    I32,
    I64,
    LANES,
    Builder,
    Value,
    constant,
    shuffle,
    store,
)

_config: Any = numba.config
_declare: Any = cgutils.get_or_insert_function
_WORDS = ir.VectorType(I32, LANES)
_INSTRUCTIONS = {
    512: "avx512.pmaddw.d avx512.packssdw avx512.packuswb avx512.pmul.hr.sw avx512.pshuf.b",
    256: "avx2.pmadd.wd avx2.packssdw avx2.packuswb avx2.pmul.hr.sw avx2.pshuf.b",
    128: "sse2.pmadd.wd sse2.packssdw sse2.packuswb ssse3.pmul.hr.sw ssse3.pshuf.b",
}
_SUFFIXES = {512: [".512"] * 5, 256: [""] * 5, 128: ["", ".128", ".128", ".128", ".128"]}


@cache
def has_feature(name: str) -> bool:
    """Whether the processor that is compiled for has a feature, by LLVM's name."""
    host = binding.get_host_cpu_features().flatten()
    return f"+{name}" in (_config.CPU_FEATURES or host).split(",")


@cache
def _width() -> int:
    """Bits of the widest x86 registers; 0 on other processors."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not has_feature("ssse3"):
        return 0
    if has_feature("avx512bw") and not has_feature("prefer-256-bit"):
        return 512
    return 256 if has_feature("avx2") else 128


def _in_registers(builder: Builder, which: int, lane: ir.Type, values: Sequence[Value]) -> Value:
    """Apply an x86 instruction to vectors of 512 bits, as many times as registers need.

    Its result has as many bits as an operand, in lanes of type ``lane``.
    """
    width = _width()
    operand = values[0].type
    lanes = operand.count * width // 512
    part = ir.VectorType(operand.element, lanes)
    kind = ir.VectorType(lane, width // lane.width)
    name = f"llvm.x86.{_INSTRUCTIONS[width].split()[which]}{_SUFFIXES[width][which]}"
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
    return sums_of_products(builder, pairs, constant(I16, [first, second] * LANES))


def sums_of_products(builder: Builder, pairs: Value, factors: Value) -> Value:
    """The same with a factor for each number of ``pairs``."""
    if _width():
        return _in_registers(builder, 0, I32, [pairs, factors])
    evens, odds = ([2 * lane + which for lane in range(LANES)] for which in (0, 1))
    products = []
    for numbers in (evens, odds):
        sides = [
            builder.sext(shuffle(builder, value, value, numbers), _WORDS)
            for value in (pairs, factors)
        ]
        products.append(builder.mul(*sides))
    return builder.add(*products)


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


def rounded_products(builder: Builder, numbers: Value, factors: Value) -> Value:
    """<32 x i16> -> <32 x i16>: products without their last 15 bits, rounded."""
    if _width():
        return _in_registers(builder, 3, I16, [numbers, factors])
    wide = ir.VectorType(I32, 2 * LANES)
    product = builder.mul(builder.sext(numbers, wide), builder.sext(factors, wide))
    rounded = builder.add(product, constant(I32, [1 << 14] * 2 * LANES))
    return builder.trunc(builder.ashr(rounded, constant(I32, [15] * 2 * LANES)), numbers.type)


def pack_halves(builder: Builder, first: Value, second: Value) -> Value:
    """Two <16 x i32>, which fit -> <32 x i16>: lanes 0-3 of each in turn, then 4-7 ..."""
    if _width():
        return _in_registers(builder, 1, I16, [first, second])
    both = shuffle(builder, first, second, PACKED)
    return builder.trunc(both, ir.VectorType(I16, 2 * LANES))


def unpack_halves(builder: Builder, first: Value, second: Value) -> tuple[Value, Value]:
    """Two <32 x i16> in the order of ``pack_halves`` -> <32 x i16> of pairs, in lanes' order."""
    low = [8 * g + i + 2 * LANES * which for g in range(4) for i in range(4) for which in (0, 1)]
    high = [number + 4 for number in low]
    return shuffle(builder, first, second, low), shuffle(builder, first, second, high)


PACKED: Final = [LANES * which + 4 * g + i for g in range(4) for which in (0, 1) for i in range(4)]
"""Which lanes of two vectors of 16 are where after ``pack_halves``."""


def picks_bytes() -> bool:
    """Whether there are instructions for ``pick_bytes``."""
    return _width() > 0


def pick_bytes(builder: Builder, windows: Value, numbers: Value) -> Value:
    """Every second byte of <64 x i8>, the others zero: byte ``numbers[i]`` of its window.

    A window is all 64 bytes if the processor has AVX512-VBMI, and else the 16 around the byte.
    Bytes of ``numbers`` between those that count are 128.
    """
    if has_feature("avx512vbmi") and _width() == 512:
        kind = ir.FunctionType(windows.type, [windows.type] * 2)
        function = _declare(builder.module, kind, "llvm.x86.avx512.permvar.qi.512")
        is_even = constant(ir.IntType(1), [1, 0] * 2 * LANES)
        picked = builder.call(function, [windows, numbers])
        return builder.select(is_even, picked, ir.Constant(windows.type, None))
    return _in_registers(builder, 4, I8, [windows, numbers])


def opaque(builder: Builder, value: Value) -> Value:
    """The same value, of which LLVM knows nothing.

    It sees through shifts, masks and shuffles, and makes one larger shuffle of them that may need
    more instructions than they did.
    """
    if _width() < 512:
        return value
    code = ir.InlineAsm(ir.FunctionType(value.type, [value.type]), "", "=v,0", side_effect=False)
    return builder.call(code, [value])


def store_triples(builder: Builder, quadruples: Value, address: Value, offset: int) -> None:
    """Store the first three of each four bytes of <64 x i8>, 48 bytes in all."""
    numbers = [4 * four + byte for four in range(LANES) for byte in range(3)]
    if _width() < 512:
        store(builder, shuffle(builder, quadruples, quadruples, numbers), address, offset)
        return
    # in one store: LLVM would make two of 48 bytes, each with a shuffle of its own
    triples = shuffle(builder, quadruples, quadruples, numbers + [0] * LANES)
    pointer = builder.inttoptr(builder.add(address, ir.Constant(I64, offset)), I8.as_pointer())
    is_stored = constant(ir.IntType(1), [1] * 12 + [0] * 4)
    kind = ir.FunctionType(ir.VoidType(), [_WORDS, pointer.type, I32, is_stored.type])
    function = _declare(builder.module, kind, "llvm.masked.store.v16i32.p0")
    one = ir.Constant(I32, 1)
    builder.call(function, [builder.bitcast(triples, _WORDS), pointer, one, is_stored])

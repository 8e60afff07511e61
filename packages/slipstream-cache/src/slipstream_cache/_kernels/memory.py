"""Loads and copies at integer addresses, for kernels that read mapped files.

The caller has checked that the bytes are there.
"""
# ruff: noqa: ARG001  (numba passes these arguments by position)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_byte_pointer = ir.IntType(8).as_pointer()
_memcpy: Any = cgutils.raw_memcpy


def _load(bits: int) -> Callable[[int], int]:
    """Intrinsic ``load(address)``: an unsigned number of ``bits`` as int64, at any alignment.

    64 bits are reinterpreted as signed.
    """

    def load(typing_context: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer)
            value.align = 1
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), emit

    return cast(Callable[[int], int], intrinsic(load))


def _copy(typing_context: Any, destination: Any, source: Any, num_bytes: Any) -> Any:
    """Intrinsic ``copy_bytes(destination, source, num_bytes)``: memcpy between addresses."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, start = (builder.inttoptr(address, _byte_pointer) for address in arguments[:2])
        _memcpy(builder, to, start, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


load_u8 = _load(8)
load_u32 = _load(32)
load_u64 = _load(64)
copy_bytes = cast(Callable[[int, int, int], None], intrinsic(_copy))

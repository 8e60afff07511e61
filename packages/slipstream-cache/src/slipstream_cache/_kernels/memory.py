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


def _stream(typing_context: Any, destination: Any, source: Any) -> Any:
    """Intrinsic ``stream_block(destination, source)``: 64 bytes past the processor's caches.

    ``destination`` is a multiple of 64. Others see the bytes after ``finish_streams``.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = ir.VectorType(ir.IntType(8), STREAM_BLOCK_BYTES).as_pointer()
        to, start = (builder.inttoptr(address, block) for address in arguments)
        store = builder.store(builder.load(start, align=1), to, align=STREAM_BLOCK_BYTES)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        store.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


def _fence(typing_context: Any) -> Any:
    """Intrinsic ``finish_streams()``: what was streamed is written before what comes next."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


STREAM_BLOCK_BYTES = 64

load_u8 = _load(8)
load_u32 = _load(32)
load_u64 = _load(64)
copy_bytes = cast(Callable[[int, int, int], None], intrinsic(_copy))
stream_block = cast(Callable[[int, int], None], intrinsic(_stream))
finish_streams = cast(Callable[[], None], intrinsic(_fence))

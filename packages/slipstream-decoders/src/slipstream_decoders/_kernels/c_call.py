"""Calls of C functions by address from compiled code.

The address is an argument and not a constant, so the machine code can be kept on disk. Integers and
pointers travel as int64: every supported calling convention passes them in registers or in slots of
8 bytes, and the callee reads the low bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


def _caller(name: str, result: ir.IntType, numba_result: types.Type) -> Any:
    def call(_typing: Any, _function: Any, arguments: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            function_type = ir.FunctionType(result, [_INT64] * len(arguments))
            pointer = builder.inttoptr(values[0], function_type.as_pointer())
            unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
            return builder.call(pointer, unpacked)

        return numba_result(types.int64, arguments), codegen

    call.__name__ = name
    return intrinsic(call)


_Call = Callable[[int, tuple[int, ...]], int]

call_c: _Call = _caller("call_c", _INT32, types.int32)
"""``int32 function(*arguments)`` for the function at an int64 address."""

call_c_for_address: _Call = _caller("call_c_for_address", _INT64, types.int64)
"""The same for a function that returns a pointer."""

"""Calls of C functions by address from compiled code.

The address is an argument and not a constant, so the machine code can be kept on disk. Integers and
pointers travel as int64: every supported calling convention passes them in registers or in slots of
8 bytes, and the callee reads the low bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


def _call_c(_typing: Any, _function: Any, arguments: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(_INT32, [_INT64] * len(arguments))
        pointer = builder.inttoptr(values[0], function_type.as_pointer())
        unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        return builder.call(pointer, unpacked)

    return types.int32(types.int64, arguments), codegen


call_c = cast(Callable[[int, tuple[int, ...]], int], intrinsic(_call_c))
"""``int32 function(*arguments)`` for the function at an int64 address."""

"""Calls of C functions by address from compiled code.

The address is an argument and not a constant, so the machine code can be kept on disk. Integer and
pointer arguments travel as int64: every supported calling convention passes them in registers or
8-byte slots, and the callee reads the low bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

_INT64 = ir.IntType(64)
_INT32 = ir.IntType(32)


def _call(num_arguments: int) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function_type = ir.FunctionType(_INT32, [_INT64] * num_arguments)
        function = builder.inttoptr(arguments[0], function_type.as_pointer())
        return builder.call(function, arguments[1:])

    return types.int32(*[types.int64] * (num_arguments + 1)), codegen


@intrinsic  # type: ignore[untyped-decorator]
def call7(
    _typing: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any
) -> Any:
    """``int32 function(a, ..., g)``."""
    return _call(7)


@intrinsic  # type: ignore[untyped-decorator]
def call8(
    _typing: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any
) -> Any:
    """``int32 function(a, ..., h)``."""
    return _call(8)


@intrinsic  # type: ignore[untyped-decorator]
def call9(
    _typing: Any,
    function: Any,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    e: Any,
    f: Any,
    g: Any,
    h: Any,
    i: Any,
) -> Any:
    """``int32 function(a, ..., i)``."""
    return _call(9)

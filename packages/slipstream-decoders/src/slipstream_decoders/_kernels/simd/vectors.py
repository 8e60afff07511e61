"""Vector types of 512 bits, and ``define``: from LLVM instructions to a function for kernels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.extending import intrinsic, register_model

LANES: Final = 16
"""Lanes of a vector, unless its type says otherwise."""

CONTRACT: Final = ("contract", "nsz")
"""Flags of floating-point instructions: a multiply and an add may become one fused operation."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()

Builder = Any
Value = Any
Vector = Any


class VectorType(types.Type):
    """The numba type of an LLVM vector.

    Parameters
    ----------
    name : str
        Name that appears in numba's messages.
    lane : llvmlite.ir.Type
        LLVM type of one lane.
    lanes : int
        How many there are.
    """

    def __init__(self, name: str, lane: ir.Type, lanes: int = LANES) -> None:
        self.lane = lane
        self.lanes = lanes
        super().__init__(name)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    """Held in registers as it is."""

    def __init__(self, manager: Any, frontend_type: VectorType) -> None:
        vector = ir.VectorType(frontend_type.lane, frontend_type.lanes)
        super().__init__(manager, frontend_type, vector)  # type: ignore[no-untyped-call]


BYTES: Final = VectorType("vector_u8", I8)
HALVES: Final = VectorType("vector_i16", I16, 2 * LANES)
INTS: Final = VectorType("vector_i32", I32)
FLOATS: Final = VectorType("vector_f32", F32)


def define(
    name: str,
    result: types.Type,
    arguments: Sequence[types.Type],
    emit: Callable[..., Value | None],
) -> Any:
    """Make a function for nopython code out of LLVM instructions.

    Parameters
    ----------
    name : str
        Name of the function in numba's messages.
    result : numba type
        What it returns.
    arguments : sequence of numba types
        What it takes, by position; numba converts scalars to these.
    emit : callable
        ``emit(builder, *values)`` emits the instructions and returns the LLVM value, or None.

    Returns
    -------
    callable
        Known to numba only: it cannot be called from Python.
    """
    signature = result(*arguments)

    def codegen(context: Any, builder: Builder, _signature: Any, values: Sequence[Value]) -> Value:
        value = emit(builder, *values)
        return context.get_dummy_value() if value is None else value

    def definition(*_types: Any) -> Any:
        return signature, codegen

    names = ["typing_context", *(f"argument{i}" for i in range(len(arguments)))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(each, kind) for each in names]
    )
    definition.__name__ = name
    return intrinsic(definition)


def constant(lane: ir.Type, values: Sequence[float]) -> Value:
    """A constant vector."""
    return ir.Constant(ir.VectorType(lane, len(values)), list(values))


def same(lane: ir.Type, value: float) -> Value:
    """A constant vector of 16 equal lanes."""
    return constant(lane, [value] * LANES)


def shuffle(builder: Builder, first: Value, second: Value, lanes: Sequence[int]) -> Value:
    """Pick lanes of two vectors laid end to end."""
    return builder.shuffle_vector(first, second, constant(I32, lanes))


def splat(builder: Builder, scalar: Value) -> Value:
    """A vector of 16 lanes, each holding ``scalar``."""
    undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return shuffle(builder, first, undefined, [0] * LANES)


def load(builder: Builder, kind: ir.Type, address: Value, offset: int = 0) -> Value:
    """Load an unaligned value of an LLVM type at ``address + offset`` bytes."""
    value = builder.load(_pointer(builder, kind, address, offset))
    value.align = 1
    return value


def store(builder: Builder, value: Value, address: Value, offset: int = 0) -> None:
    """Store an LLVM value, unaligned, at ``address + offset`` bytes."""
    instruction = builder.store(value, _pointer(builder, value.type, address, offset))
    instruction.align = 1


def _pointer(builder: Builder, kind: ir.Type, address: Value, offset: int) -> Value:
    if offset:
        address = builder.add(address, ir.Constant(I64, offset))
    return builder.inttoptr(address, kind.as_pointer())

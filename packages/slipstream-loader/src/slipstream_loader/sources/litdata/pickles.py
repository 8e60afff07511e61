"""The leaves that LitData has pickled: NumPy scalars, as it does for ``np.int64(3)``.

A pickle can run any code when Python loads it. So pickles of scalars are not given to Python: the
few instructions that these consist of are followed here, and anything else is refused, unless the
user has asked for it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from functools import lru_cache
from typing import Any, Final

import numpy as np

from slipstream_loader.errors import SampleReadError

_MAX_SCALAR_BYTES: Final = 4096
"""A pickled scalar has about 120 bytes."""
_SCALAR: Final = frozenset({"numpy._core.multiarray scalar", "numpy.core.multiarray scalar"})
_DTYPE: Final = "numpy dtype"
_ENCODE: Final = "_codecs encode"
_DTYPE_NAME: Final = re.compile(r"([biufc](1|2|4|8|16)|[SU]\d{1,4})")
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK: Final = object()
_BAD_PICKLE_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


@lru_cache(maxsize=8192)
def load_scalar(data: bytes) -> Any:
    """Return the NumPy scalar in a pickle, or None, a bool, int, float, str or bytes.

    Raises
    ------
    SampleReadError
        The pickle holds something else, or is damaged.
    """
    if len(data) > _MAX_SCALAR_BYTES:
        raise SampleReadError(_refusal(f"of {len(data)} bytes"))
    try:
        value = _follow(data)
    except _BAD_PICKLE_ERRORS as error:
        raise SampleReadError(f"a damaged pickle: {error}") from error
    plain = value is None or isinstance(value, (bool, int, float, str, bytes, np.generic))
    if plain and not isinstance(value, _Global):
        return value
    raise SampleReadError(_refusal("of something else"))


def load_anything(data: bytes) -> Any:
    """Load any pickle, which may run any code.

    Raises
    ------
    SampleReadError
        It cannot be loaded.
    """
    try:
        return pickle.loads(data)  # noqa: S301  (the user has asked for it)
    except _BAD_PICKLE_ERRORS as error:
        raise SampleReadError(f"a pickle that cannot be loaded: {error}") from error


class _Global(str):
    """Module and name of something that a pickle wants imported; nothing is."""

    __slots__ = ()


class _Dtype:
    """A simple dtype in the making."""

    def __init__(self, arguments: Any) -> None:
        name = arguments[0]
        if not isinstance(name, str) or not _DTYPE_NAME.fullmatch(name):
            raise SampleReadError(_refusal(f"of dtype {str(name)[:40]!r}"))
        self.dtype: np.dtype[Any] = np.dtype(name)

    def set_state(self, state: Any) -> None:
        """Take the byte order; everything else follows from the name."""
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


def _follow(data: bytes) -> Any:
    """Follow the instructions of a pickle that holds a scalar."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for instruction, argument, _ in pickletools.genops(io.BytesIO(data)):
        name = instruction.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            (value,) = stack
            return value
        if name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "GLOBAL":
            stack.append(_Global(argument))
        elif isinstance(argument, (int, float, str, bytes)):
            stack.append(argument)
        else:
            _combine(name, stack)
    raise ValueError("it is cut off")


def _combine(name: str, stack: list[Any]) -> None:
    """Follow an instruction that makes one value of those on the stack."""
    if name in _TUPLES or name == "TUPLE":
        start = len(stack) - _TUPLES[name] if name in _TUPLES else stack.index(_MARK)
        items = tuple(item for item in stack[start:] if item is not _MARK)
        del stack[start:]
        stack.append(items)
        return
    if name not in ("STACK_GLOBAL", "REDUCE", "BUILD"):
        raise SampleReadError(_refusal(f"with {name}"))
    argument, target = stack.pop(), stack.pop()
    if name == "STACK_GLOBAL":
        stack.append(_Global(f"{target} {argument}"))
    elif name == "REDUCE":
        stack.append(_call(target, argument))
    else:
        target.set_state(argument)
        stack.append(target)


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise ValueError("a call of what is no function")
    if function == _DTYPE:
        return _Dtype(arguments)
    if function == _ENCODE and arguments[1] == "latin1":  # how protocol 2 writes bytes
        return str(arguments[0]).encode("latin1")
    if function not in _SCALAR:
        raise SampleReadError(_refusal(f"with {function.replace(' ', '.')[:80]}"))
    dtype, data = arguments[0].dtype, arguments[1]
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError(f"a scalar of dtype {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype)[0]


def _refusal(what: str) -> str:
    return (
        f"a pickle {what}: only those of NumPy scalars are read, as others may run code; if you "
        "trust who wrote the data set, open it with LitDataSource(..., allow_pickle=True)"
    )

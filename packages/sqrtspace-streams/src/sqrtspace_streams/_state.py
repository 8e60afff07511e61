"""Exact copies of kernel state.

State is a tree of dicts, lists and tuples whose leaves are None, bool, int, float, complex, str,
NumPy scalars or arrays without objects: what JSON or ``numpy.savez`` could hold. A copy shares no
memory with the original, so a kernel may change its state in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sqrtspace_streams.errors import StateError

_LEAVES = (bool, int, float, complex, str, bytes, type(None))


def copy_state(state: Any, path: str = "state") -> Any:
    """A deep copy, bit for bit.

    Raises
    ------
    StateError
        For anything else than the types above; the message has the path to it.
    """
    if isinstance(state, np.ndarray):
        if state.dtype.hasobject:
            raise StateError(f"{path} is an array of Python objects: it cannot be copied exactly")
        return state.copy(order="K")
    if isinstance(state, np.generic) or type(state) in _LEAVES:
        return state
    if type(state) is dict:
        for key in state:
            if type(key) not in (str, int):
                raise StateError(f"{path} has the key {key!r}: keys are str or int")
        return {key: copy_state(value, f"{path}[{key!r}]") for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(copy_state(v, f"{path}[{i}]") for i, v in enumerate(state))
    raise StateError(
        f"{path} is a {type(state).__qualname__}: kernel state is made of dicts, lists, numbers, "
        "strings and arrays"
    )


def state_bytes(state: Any) -> int:
    """Bytes that a state takes, to a few bytes a leaf."""
    if isinstance(state, np.ndarray):
        return int(state.nbytes)
    if isinstance(state, dict):
        return sum(64 + state_bytes(value) for value in state.values())
    if isinstance(state, list | tuple):
        return sum(8 + state_bytes(value) for value in state)
    return 32 + len(state) if isinstance(state, str | bytes) else 32

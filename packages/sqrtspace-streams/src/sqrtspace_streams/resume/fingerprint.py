"""What a run depends on, as digests that a later process compares."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import is_dataclass
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._stage import Stage
from sqrtspace_streams.config import Settings
from sqrtspace_streams.sources.base import Source

_PLAIN = (bool, int, float, complex, str, bytes, tuple, frozenset, np.ndarray, np.generic)
_SAMPLES = 16_384  # read at either end of the source
_MEANING = ("window", "hop", "dtype", "block_rows", "seed", "backend", "device")


def fingerprint(
    compiled: CompiledGraph, arguments: Parameters, source: Source, settings: Settings
) -> dict[str, str]:
    """A digest of each thing that results depend on, by what it is.

    Of functions and kernels their byte code counts, constants, defaults, closures, the functions
    and values of their module that they name, and the attributes of a kernel; of other objects
    that these hold, data classes apart, the type alone. Of a source its type of samples, its length
    and the samples at both ends count.
    """
    found = {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "NumPy": np.__version__,
        "source": _source_digest(source),
    }
    for name in _MEANING:
        found[name] = str(getattr(settings, name))
    for stage in compiled.order:
        found[f"stage {stage.name!r}"] = _stage_digest(stage)
        if arguments[stage.name]:
            found[f"parameters of {stage.name!r}"] = _hex(_token(arguments[stage.name], set()))
    return found


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What is not the same in two fingerprints."""
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _stage_digest(stage: Stage) -> str:
    what = stage.kernel if stage.kernel else stage.function
    options = (stage.inputs, stage.batch_invariant, stage.vectorized, stage.context, stage.pad)
    return _hex(_token(what, set(), is_whole=True) + _token(options, set()))


def _source_digest(source: Source) -> str:
    parts: list[Any] = [source.dtype.str, source.item_shape, source.num_samples]
    count = source.num_samples
    if count is not None:
        ends = {0: min(count, _SAMPLES), max(count - _SAMPLES, 0): count}
        parts += [source.read(start, stop).tobytes() for start, stop in ends.items()]
    return _hex(_token(parts, set()))


def _hex(token: bytes) -> str:
    return hashlib.blake2b(token, digest_size=8).hexdigest()


def _token(value: Any, seen: set[int], *, is_whole: bool = False) -> bytes:
    """Bytes that a later process finds again for an equal value.

    Where ``is_whole``, the attributes of an object count, too.
    """
    kind = type(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = hashlib.blake2b(value.tobytes(), digest_size=16).digest()
        return f"{value.dtype.str}{value.shape}".encode() + content
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | type(None)):
        return f"{kind.__name__}:{value!r};".encode()
    name = f"{kind.__module__}.{kind.__qualname__}".encode()
    if id(value) in seen:
        return b"again " + name
    seen = seen | {id(value)}
    if isinstance(value, dict):
        return b"{" + b",".join(_token(k, seen) + _token(v, seen) for k, v in value.items()) + b"}"
    if isinstance(value, list | tuple):
        return b"(" + b",".join(_token(v, seen) for v in value) + b")"
    if isinstance(value, set | frozenset):
        return b"<" + b",".join(sorted(_token(v, seen) for v in value)) + b">"
    if isinstance(value, CodeType):
        code = (value.co_code, value.co_consts, value.co_names, value.co_varnames)
        return b"code" + _token(code, seen)
    if isinstance(value, type):
        inside = [v for k, v in sorted(vars(value).items()) if hasattr(v, "__code__")]
        inside += [base for base in value.__bases__ if base.__module__ != "builtins"]
        return f"class {value.__qualname__}".encode() + b"".join(_token(v, seen) for v in inside)
    if hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        defaults = (value.__defaults__, value.__kwdefaults__)
        return b"function" + _token((value.__code__, defaults, cells, _named(value)), seen)
    if hasattr(value, "__func__"):
        return _token(value.__func__, seen) + _token(value.__self__, seen)
    if isinstance(value, partial):
        return _token((value.func, value.args, value.keywords), seen)
    own = _token(kind, seen) if kind.__module__ not in ("builtins", "numpy") else name
    if is_whole or is_dataclass(value):
        return own + _token(getattr(value, "__dict__", {}), seen)
    return own


def _named(function: Any) -> dict[str, Any]:
    """What a function uses of its module: functions, classes and plain values."""
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    module = function.__globals__
    found = {name: module[name] for name in sorted(names) if name in module}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, _PLAIN)
        or (
            (hasattr(value, "__code__") or isinstance(value, type))
            and value.__module__ == function.__module__
        )
    }


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 raises where it is empty
    except ValueError:
        return False
    return True

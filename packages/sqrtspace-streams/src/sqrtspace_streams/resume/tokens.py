"""Bytes that stand for values, and for what functions do, in this process and in later ones."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache, cached_property, partial, partialmethod
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_BY_REPR = (
    *(bool, int, float, complex, str, bytes, bytearray, np.generic, type(None)),
    *(date, time, timedelta, Decimal, Fraction, range, slice, np.dtype, Enum, PurePath),
)
_PARTS: dict[type, tuple[str, ...]] = {  # what wrappers are made of
    MethodType: ("__self__", "__func__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset"),
    cached_property: ("func",),
    partial: ("func", "args", "keywords"),
    partialmethod: ("func", "args", "keywords"),
}


class Tokens:
    """Tokens of one object and of all that it reaches.

    Code of the program counts byte by byte, that of installed libraries by name and version.

    Parameters
    ----------
    module : str
        Where the object is from: its package counts as part of the program.
    """

    def __init__(self, module: str = "") -> None:
        self._home = module.partition(".")[0]
        self._met: dict[int, tuple[int, Any]] = {}  # functions and classes, numbered
        self._open: set[int] = set()  # containers and objects that are being looked at

    def of(self, value: Any, *, is_whole: bool = False) -> bytes:
        """The token of a value.

        Of an object that is none of the known kinds its class counts, and where ``is_whole`` its
        attributes as well; of what those hold again only the class, data classes apart.
        """
        kind = type(value)
        if isinstance(value, np.ndarray):
            return f"{value.dtype!r}{value.shape}".encode() + self._content(value)
        if isinstance(value, _BY_REPR):
            return f"{kind.__name__}:{value!r};".encode()
        if isinstance(value, dict | list | tuple | set | frozenset):
            return self._once_at_a_time(value, self._container)
        if isinstance(value, CodeType):
            code = (value.co_code, value.co_consts, value.co_names, value.co_varnames)
            return b"code" + self.of(code)
        if isinstance(value, ModuleType):
            return self._name(value.__name__, "").encode()
        if isinstance(value, type | FunctionType):
            return self._function_or_class(value)
        for wrapper, names in _PARTS.items():
            if isinstance(value, wrapper):
                parts = (self.of(getattr(value, name), is_whole=is_whole) for name in names)
                return wrapper.__name__.encode() + b"".join(parts)
        if is_whole or is_dataclass(value):
            return self._once_at_a_time(value, self._whole)
        return self._object(value)

    def _content(self, array: np.ndarray[Any, Any]) -> bytes:
        if array.dtype.hasobject:
            return self.of(array.tolist())
        return hashlib.blake2b(array.tobytes(), digest_size=16).digest()

    def _once_at_a_time(self, value: Any, token: Any) -> bytes:
        if id(value) in self._open:
            return f"within {type(value).__qualname__}".encode()
        self._open.add(id(value))
        try:
            found: bytes = token(value)
        finally:
            self._open.remove(id(value))
        return found

    def _container(self, value: Any) -> bytes:
        if isinstance(value, dict):
            return b"{" + b",".join(self.of(k) + self.of(v) for k, v in value.items()) + b"}"
        if isinstance(value, list | tuple):
            return b"(" + b",".join(map(self.of, value)) + b")"
        return b"<" + b",".join(sorted(map(self._alone, value))) + b">"

    def _alone(self, value: Any) -> bytes:
        """A token that does not depend on what was met before: sets have no order."""
        tokens = Tokens(self._home)
        tokens._open = self._open
        return tokens.of(value)

    def _function_or_class(self, value: Any) -> bytes:
        if self._is_library(value.__module__):
            return self._name(value.__module__, value.__qualname__).encode()
        if id(value) in self._met:
            return f"again {self._met[id(value)][0]};".encode()
        self._met[id(value)] = (len(self._met), value)
        return self._class(value) if isinstance(value, type) else self._function(value)

    def _function(self, function: FunctionType) -> bytes:
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        defaults = (function.__defaults__, function.__kwdefaults__)
        return b"function" + self.of((function.__code__, defaults, cells, _named(function)))

    def _class(self, cls: type) -> bytes:
        inside = {name: value for name, value in sorted(vars(cls).items()) if _counts(name, value)}
        return f"class {cls.__qualname__}".encode() + self.of((inside, cls.__bases__))

    def _whole(self, value: Any) -> bytes:
        attributes = dict(getattr(value, "__dict__", {}))
        if self._is_library(type(value).__module__) and "__wrapped__" in attributes:
            return self._object(value)
        slots = (vars(cls).get("__slots__", ()) for cls in type(value).__mro__)
        for names in slots:
            for name in (names,) if isinstance(names, str) else names:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    attributes[name] = getattr(value, name)
        return self._object(value) + self.of(attributes)

    def _object(self, value: Any) -> bytes:
        """The class of an object, and what is known of a function that has no byte code."""
        token = self.of(type(value))
        if isinstance(value, BuiltinFunctionType | np.ufunc):
            home = getattr(value, "__module__", None) or "builtins"
            name = getattr(value, "__qualname__", value.__name__)
            token += self._name(home, name).encode()
            token += self.of(getattr(value, "__self__", None))
        wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
        return token if wrapped is None else token + self.of(wrapped)

    def _is_library(self, module: str | None) -> bool:
        package = (module or "__main__").partition(".")[0]
        return package == "numpy" or (package != self._home and _is_installed(package))

    def _name(self, module: str, name: str) -> str:
        package = module.partition(".")[0]
        return f"{module}.{name} {library_version(package) if self._is_library(module) else ''};"


@cache
def library_version(package: str) -> str:
    """The version of an installed package, as it says itself; empty where it does not."""
    if package in sys.stdlib_module_names:
        return ""
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", ""))


@cache
def _is_installed(package: str) -> bool:
    """Whether a package was installed; the program itself was not."""
    if package in sys.stdlib_module_names:
        return True
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    libraries = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return any(libraries.intersection(Path(place).resolve().parents) for place in places)


def _counts(name: str, value: Any) -> bool:
    """Whether a class's attribute was written by whoever wrote the class."""
    if name.startswith("__") and name.endswith("__"):
        return isinstance(value, FunctionType | staticmethod | classmethod)
    return name != "_abc_impl"


def _named(function: FunctionType) -> dict[str, Any]:
    """What a function names of its module."""
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    module = function.__globals__
    return {name: module[name] for name in sorted(names) if name in module}


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 raises where it is empty
    except ValueError:
        return False
    return True

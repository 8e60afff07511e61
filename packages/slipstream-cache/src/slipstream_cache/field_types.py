"""Rules for fields: valid names, valid specs, their files, and types inferred from one sample."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from slipstream_cache.errors import FieldNameError, FieldNotFoundError, FieldTypeError
from slipstream_cache.image_header import sniff_image_format
from slipstream_cache.layout import PART_MANIFEST_NAME
from slipstream_cache.source import FieldSpec

_DENSE_KINDS: Final = "biufcmM"
_MAX_NAME_BYTES: Final = 200
_FORBIDDEN: Final = frozenset('/\\:*?"<>|')
_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)


def field_files(name: str, spec: FieldSpec) -> tuple[str, ...]:
    """Names of the files that a field has in each part: payloads first, then their rows."""
    if spec.kind == "dense":
        return (f"{name}.npy",)
    if spec.kind == "ragged":
        return (f"{name}.bin", f"{name}.offsets.npy")
    return (f"{name}.bin", f"{name}.samples.npy")


def validate_fields(fields: Mapping[str, FieldSpec]) -> None:
    """Check names and specs of all fields of a cache.

    Raises
    ------
    FieldNameError
        A name is not portable as a file name, or two fields would share a file.
    FieldTypeError
        A spec is not one of the format's, or there is no field at all.
    """
    if not fields:
        raise FieldTypeError("a cache needs at least one field, but the source declares none")
    taken = {_folded(PART_MANIFEST_NAME): "the part's manifest"}
    for name, spec in fields.items():
        _check_name(name)
        _check_spec(name, spec)
        for file in field_files(name, spec):
            owner = taken.setdefault(_folded(file), f"field {name!r}")
            if owner != f"field {name!r}":
                raise FieldNameError(
                    f"field {name!r} would be stored in {file!r}, which already belongs to "
                    f"{owner} (letter case does not count); rename one of them"
                )


def select_fields(
    declared: Mapping[str, FieldSpec], wanted: tuple[str, ...] | None
) -> dict[str, FieldSpec]:
    """Return the fields to store, in the source's order.

    Raises
    ------
    FieldNotFoundError
        A wanted field is not declared.
    """
    if wanted is None:
        return dict(declared)
    for name in wanted:
        if name not in declared:
            raise FieldNotFoundError(
                f"the source has no field {name!r}; it has {', '.join(map(repr, declared))}"
            )
    return {name: spec for name, spec in declared.items() if name in wanted}


def infer_field_types(sample: Mapping[str, Any]) -> dict[str, FieldSpec]:
    """Tell from one sample how each of its fields is stored.

    bool, int and float become dense ``|b1``, ``<i8`` and ``<f8``; NumPy scalars and arrays (and
    what converts to one, such as tensors) keep their dtype and shape; ``bytes`` are an image if
    they begin like one; ``str`` is text; lists, tuples, dicts and None are stored as JSON.

    Parameters
    ----------
    sample : Mapping
        Field name to value.

    Returns
    -------
    dict of str to FieldSpec
        In the sample's order.

    Raises
    ------
    FieldNameError
        A name cannot be a field's.
    FieldTypeError
        A value has no stored form, or the sample is empty.
    """
    fields = {name: _infer(name, value) for name, value in sample.items()}
    validate_fields(fields)
    return fields


def _infer(name: str, value: Any) -> FieldSpec:
    if isinstance(value, str):
        return FieldSpec("ragged", content="str")
    if isinstance(value, (bytes, bytearray, memoryview)):
        if sniff_image_format(bytes(value[:32])):
            return FieldSpec("image")
        return FieldSpec("ragged", content="bytes")
    if value is None or isinstance(value, (list, tuple, dict)):
        return FieldSpec("ragged", content="json")
    if isinstance(value, bool):
        return FieldSpec("dense", dtype="|b1")
    if isinstance(value, (np.generic, np.ndarray)) or hasattr(value, "__array__"):
        array = np.asarray(value)
        spec = FieldSpec("dense", dtype=array.dtype.newbyteorder("<").str, shape=array.shape)
        _check_spec(name, spec)
        return spec
    if isinstance(value, int):
        return FieldSpec("dense", dtype="<i8")
    if isinstance(value, float):
        return FieldSpec("dense", dtype="<f8")
    raise FieldTypeError(
        f"field {name!r} has a value of type {type(value).__name__}, which has no stored form; "
        "give a number, array, str, bytes, or a list or dict of JSON values"
    )


def _folded(file: str) -> str:
    return unicodedata.normalize("NFC", file).casefold()


def _check_name(name: str) -> None:
    problem = None
    if not isinstance(name, str) or not name:
        problem = "is empty or not a string"
    elif name.startswith("."):
        problem = "begins with a dot"
    elif name.endswith((" ", ".")):
        problem = "ends with a space or a dot"
    elif any(c in _FORBIDDEN or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name):
        problem = "holds a path separator or a character that file names cannot have"
    elif name.split(".")[0].rstrip(" ").casefold() in _DEVICES:
        problem = "is a device name on Windows"
    elif len(name.encode()) > _MAX_NAME_BYTES:
        problem = f"is longer than {_MAX_NAME_BYTES} bytes"
    if problem:
        raise FieldNameError(
            f"{name!r} cannot be a field's name, as it {problem}; fields are stored in files "
            "of their names"
        )


def _check_spec(name: str, spec: FieldSpec) -> None:
    if spec.kind == "dense" and spec.content is None:
        _check_dense(name, spec)
    elif spec.dtype is not None or spec.shape != ():
        raise FieldTypeError(f"field {name!r}: only a dense field has a dtype and a shape")
    elif spec.kind == "ragged" and spec.content not in ("bytes", "str", "json"):
        raise FieldTypeError(
            f"field {name!r}: a ragged field holds bytes, str or json, not {spec.content!r}"
        )
    elif spec.kind == "image" and spec.content is not None:
        raise FieldTypeError(f"field {name!r}: an image field has no content {spec.content!r}")
    elif spec.kind not in ("ragged", "image"):
        raise FieldTypeError(
            f"field {name!r}: unknown or inconsistent kind {spec.kind!r}; "
            "expected dense, ragged or image"
        )


def _check_dense(name: str, spec: FieldSpec) -> None:
    try:
        dtype = np.dtype(spec.dtype) if isinstance(spec.dtype, str) else None
    except TypeError:
        dtype = None
    portable = (
        dtype is not None
        and dtype.str == spec.dtype
        and dtype.kind in _DENSE_KINDS
        and dtype.byteorder != ">"
        and dtype.itemsize <= (16 if dtype.kind == "c" else 8)
    )
    if not portable:
        raise FieldTypeError(
            f"field {name!r}: dtype {spec.dtype!r} cannot be stored; expected a little-endian "
            "NumPy dtype string of bool, integer, float, complex or time, such as '<i8' or '|u1'"
        )
    if not all(type(n) is int and n >= 0 for n in spec.shape):
        raise FieldTypeError(f"field {name!r}: {spec.shape!r} is not the shape of a value")

"""Names, specs and inferred types of fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slipstream_cache import FieldNameError, FieldNotFoundError, FieldSpec, FieldTypeError
from slipstream_cache.field_types import infer_field_types, select_fields, validate_fields
from slipstream_cache.testing import make_jpeg

TEXT = FieldSpec("ragged", content="str")


BAD_NAMES = ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "NUL", "com1.x"]
BAD_NAMES += ["a ", "b.", "x" * 201, "é" * 101, "a:b", "a?", "a|b", "\ud800"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_no_portable_file_names_are_refused(name: str) -> None:
    """A field's name cannot leave the part, nor fail on another platform."""
    with pytest.raises(FieldNameError, match="cannot be a field's name"):
        validate_fields({name: TEXT})


@pytest.mark.parametrize("name", ["image", "größe", "标签", "a.b", "a b", "x" * 200, "label-2"])
def test_ordinary_names_pass(name: str) -> None:
    """Letters of any script, dots inside and spaces inside are names."""
    validate_fields({name: TEXT})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"label": TEXT}, {"Label": TEXT}),
        ({"ß": TEXT}, {"SS": TEXT}),
        ({"é": TEXT}, {"e\u0301": TEXT}),
        ({"a": TEXT}, {"a.offsets": FieldSpec("dense", "<i8")}),
        ({"a": FieldSpec("image")}, {"A.samples": FieldSpec("dense", "<i8")}),
    ],
)
def test_fields_that_would_share_a_file_are_refused(one: Any, two: Any) -> None:
    """Two fields never share a file, also where letter case does not count."""
    with pytest.raises(FieldNameError, match="already belongs to"):
        validate_fields({**one, **two})


@pytest.mark.parametrize(
    "spec",
    [
        FieldSpec("dense"),
        FieldSpec("dense", dtype=">i8"),
        FieldSpec("dense", dtype="O"),
        FieldSpec("dense", dtype="int64"),
        FieldSpec("dense", dtype="<U5"),
        FieldSpec("dense", dtype="__import__('os')"),
        FieldSpec("dense", dtype="<i8", shape=(-1,)),
        FieldSpec("dense", dtype="<i8", content="str"),
        FieldSpec("ragged"),
        FieldSpec("ragged", content="pickle"),  # type: ignore[arg-type]
        FieldSpec("ragged", content="str", dtype="<i8"),
        FieldSpec("image", content="bytes"),
        FieldSpec("table"),  # type: ignore[arg-type]
    ],
)
def test_specs_outside_the_format_are_refused(spec: Any) -> None:
    """Only little-endian plain dtypes and the known kinds are stored."""
    with pytest.raises(FieldTypeError, match="'x'"):
        validate_fields({"x": spec})


def test_no_field_at_all_is_refused() -> None:
    """A cache needs a field."""
    with pytest.raises(FieldTypeError, match="at least one"):
        validate_fields({})


class Tensor:
    """Stands in for a tensor of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.zeros((2, 3), "<f4")


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (True, FieldSpec("dense", "|b1")),
        (3, FieldSpec("dense", "<i8")),
        (0.5, FieldSpec("dense", "<f8")),
        (np.float16(1), FieldSpec("dense", "<f2")),
        (np.float64(1), FieldSpec("dense", "<f8")),
        (np.zeros(4, ">i2"), FieldSpec("dense", "<i2", (4,))),
        (np.zeros((2, 0), bool), FieldSpec("dense", "|b1", (2, 0))),
        (np.complex64(1), FieldSpec("dense", "<c8")),
        (np.datetime64("2020-01-01"), FieldSpec("dense", "<M8[D]")),
        (Tensor(), FieldSpec("dense", "<f4", (2, 3))),
        ("text", TEXT),
        (np.str_("text"), TEXT),
        (b"bytes", FieldSpec("ragged", content="bytes")),
        (bytearray(b"bytes"), FieldSpec("ragged", content="bytes")),
        (make_jpeg(1, 1), FieldSpec("image")),
        (b"\x89PNG\r\n\x1a\n...", FieldSpec("image")),
        (None, FieldSpec("ragged", content="json")),
        ([1, 2], FieldSpec("ragged", content="json")),
        ({"a": 1}, FieldSpec("ragged", content="json")),
    ],
)
def test_inferred_types(value: Any, spec: Any) -> None:
    """Each kind of value has one stored form, with its own dtype and shape."""
    assert infer_field_types({"x": value}) == {"x": spec}


@pytest.mark.parametrize("value", [{1}, object(), np.array(["a"]), np.array([None])])
def test_values_without_a_stored_form_are_refused(value: Any) -> None:
    """What cannot be stored exactly is an error that names the field."""
    with pytest.raises(FieldTypeError, match="'x'"):
        infer_field_types({"x": value})


def test_selecting_fields_keeps_the_declared_order() -> None:
    """Fields come in the source's order, and unknown ones are an error."""
    declared = {"a": TEXT, "b": TEXT, "c": TEXT}
    assert list(select_fields(declared, ("c", "a"))) == ["a", "c"]
    assert list(select_fields(declared, None)) == ["a", "b", "c"]
    with pytest.raises(FieldNotFoundError, match="'d'"):
        select_fields(declared, ("d",))

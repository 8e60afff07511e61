"""Property: what is put in a field comes out, for any field and any split into parts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slipstream_cache import FieldSpec, SampleCache, build, layout
from slipstream_cache.testing import MemorySource

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DTYPES = ["|b1", "|i1", "|u1", "<i2", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"]
KINDS = {"str": TEXT, "bytes": st.binary(max_size=50), "json": JSON}


def round_trip(values: Any, spec: Any, part_samples: Any, order: Any) -> Any:
    """Build a cache of one field, and load it in an order."""
    source = MemorySource([{"x": value} for value in values], {"x": spec})
    with (
        mock.patch.object(layout, "MAX_PART_SAMPLES", part_samples),
        tempfile.TemporaryDirectory() as directory,
    ):
        build(source, Path(directory) / "c", num_workers=2)
        return SampleCache.open(Path(directory) / "c").load_batch(order)["x"]


@pytest.mark.parametrize("content", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_ragged_values(content: Any, data: st.DataObject) -> None:
    """Any str (lone surrogates too), bytes and JSON value survive."""
    values = data.draw(st.lists(KINDS[content], min_size=1, max_size=20))
    order = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=30))
    spec = FieldSpec("ragged", content=content)
    found = round_trip(values, spec, data.draw(st.integers(1, 6)), order)
    assert found == [values[i] for i in order]
    assert [type(value) for value in found] == [type(values[i]) for i in order]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_dense_values(data: st.DataObject) -> None:
    """Arrays of any dtype and shape survive bit for bit, NaNs included."""
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    count = data.draw(st.integers(1, 12))
    column = data.draw(hnp.arrays(dtype, (count, *shape)))
    order = data.draw(st.lists(st.integers(0, count - 1), max_size=30))
    spec = FieldSpec("dense", dtype.str, shape)
    found = round_trip(list(column), spec, data.draw(st.integers(1, 6)), order)
    assert (found.dtype, found.shape) == (dtype, (len(order), *shape))
    assert found.tobytes() == column[order].tobytes() if order else found.size == 0


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("<i8", -(1 << 63)),
        ("<u8", (1 << 64) - 1),
        ("|u1", 255),
        ("|i1", -128),
        ("|b1", True),
        ("<f8", 0.1),
        ("<f2", 0.5),
        ("<f4", float("inf")),
        ("<f4", float("nan")),
    ],
)
def test_python_numbers(dtype: Any, value: Any) -> None:
    """Python's numbers are stored where the field holds them exactly."""
    found = round_trip([value], FieldSpec("dense", dtype), 4, [0])[0]
    assert found.dtype == np.dtype(dtype)
    assert found == value or value != value


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("|u1", 256),
        ("|u1", -1),
        ("<i8", 1 << 63),
        ("<i8", 1.0),
        ("<i8", True),
        ("<i8", None),
        ("<f8", 1),
        ("<f8", np.float32(1)),
        ("<f2", 0.1),
        ("<f4", 1e300),
        ("|b1", 1),
    ],
)
def test_numbers_that_would_change_are_refused(dtype: Any, value: Any) -> None:
    """Nothing is rounded, wrapped or converted on the way in."""
    with pytest.raises(TypeError, match="field 'x' of sample 0"):
        round_trip([value], FieldSpec("dense", dtype), 4, [0])


def test_arrays_in_the_other_byte_order() -> None:
    """Big-endian arrays have the same values."""
    found = round_trip([np.array([1, 2], ">i4")], FieldSpec("dense", "<i4", (2,)), 4, [0])
    assert found.tolist() == [[1, 2]]
    assert found.dtype == np.dtype("<i4")


def test_a_huge_string() -> None:
    """A value larger than all buffers survives."""
    text = "ä" * 3_000_000
    assert round_trip(["a", text, "b"], FieldSpec("ragged", content="str"), 4, [1, 0]) == [
        text,
        "a",
    ]


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), [np.int64(1)]])
def test_values_that_are_not_json_are_refused(value: Any) -> None:
    """A JSON field takes JSON values only."""
    with pytest.raises(TypeError, match="field 'x' of sample 0"):
        round_trip([value], FieldSpec("ragged", content="json"), 4, [0])

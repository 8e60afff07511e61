"""Value indexes: right, renewed when stale, and visible to open caches."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream_cache import (
    CorruptCacheError,
    FieldNotFoundError,
    FieldSpec,
    FieldTypeError,
    IndexNotFoundError,
    ManifestError,
    SampleCache,
    UnsupportedVersionError,
    build,
    write_index,
)
from slipstream_cache.testing import MemorySource, read_tree


def make_cache(directory: Path, values: Any, spec: FieldSpec, name: str = "memory") -> Any:
    """A cache of one field ``x``."""
    source = MemorySource([{"x": value} for value in values], {"x": spec}, name)
    return build(source, directory / "c")


COLUMNS = {
    "<i8": st.integers(-3, 3),
    "|b1": st.booleans(),
    "<f2": st.sampled_from([0.0, 0.5, -1.0, float("inf"), float("nan")]),
    "str": st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=2),
}


@pytest.mark.parametrize("kind", COLUMNS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_an_index_is_what_a_dictionary_of_lists_would_be(kind: Any, data: st.DataObject) -> None:
    """For every value the ids of its samples, ascending; values ascending and distinct."""
    column = data.draw(st.lists(COLUMNS[kind], max_size=30))
    is_text = kind == "str"
    spec = FieldSpec("ragged", content="str") if is_text else FieldSpec("dense", kind)
    with tempfile.TemporaryDirectory() as directory:
        index = write_index(make_cache(Path(directory), column, spec), ["x"])["x"]
        expected: dict[object, list[int]] = {}
        for i, value in enumerate(column):
            expected.setdefault("nan" if value != value else value, []).append(i)
        assert len(index) == len(expected)
        assert {"nan" if v != v else v for v in index.values.tolist()} == set(expected)
        for value, ids in expected.items():
            wanted = float("nan") if value == "nan" and not is_text else value
            assert index.sample_ids(wanted).tolist() == ids
        missing = "zzz" if is_text else 1 if kind == "|b1" else 77
        if missing not in expected:
            assert index.sample_ids(missing).tolist() == []


LABELS = FieldSpec("dense", "<i8")


def test_an_open_cache_finds_a_new_index(tmp_path: Path) -> None:
    """An index made by another process is there when it is asked for."""
    cache = make_cache(tmp_path, [5, 3, 5], LABELS)
    with pytest.raises(IndexNotFoundError, match="slipstream index"):
        cache.value_index("x")
    script = "import sys, slipstream_cache as s; s.write_index(sys.argv[1], ['x'])"
    subprocess.run([sys.executable, "-c", script, cache.cache_dir], check=True, timeout=120)
    index = cache.value_index("x")
    assert index.values.tolist() == [3, 5]
    assert index.sample_ids(5).tolist() == [0, 2]
    assert not index.values.flags.writeable


def test_indexes_are_read_by_numpy_alone(tmp_path: Path) -> None:
    """The files are plain arrays without pickles, and the temporary ones are gone."""
    cache = make_cache(tmp_path, ["b", "a", "b"], FieldSpec("ragged", content="str"))
    write_index(cache, "x")
    write_index(cache, "x")
    folder = cache.cache_dir / "index" / "x"
    directory = json.loads((folder / "manifest.json").read_text())["directory"]
    names = ["offsets.npy", "sample_ids.npy", "values.npy"]
    expected = [f"{directory}/{name}" for name in names]
    assert sorted(read_tree(folder)) == sorted([*expected, "manifest.json"])
    loaded = [np.load(folder / name, allow_pickle=False).tolist() for name in expected]
    assert loaded == [[0, 1, 3], [1, 0, 2], ["a", "b"]]


def test_a_stale_index_is_ignored_and_renewed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An index of another state of the cache is not used, and write_index replaces it."""
    old = make_cache(tmp_path / "old", [1, 2, 3], LABELS)
    new = make_cache(tmp_path / "new", [3, 2, 1], LABELS)
    write_index(old, ["x"])
    (old.cache_dir / "index").rename(new.cache_dir / "index")
    with (
        caplog.at_level(logging.WARNING, "slipstream_cache"),
        pytest.raises(IndexNotFoundError, match="out of date"),
    ):
        new.value_index("x")
    assert "ignored" in caplog.text
    write_index(new, ["x"])
    assert new.value_index("x").sample_ids(3).tolist() == [0]


def test_an_index_in_use_survives_its_renewal(tmp_path: Path) -> None:
    """Arrays that are mapped stay as they are when the index is written again."""
    cache = make_cache(tmp_path, [5, 3, 5], LABELS)
    index = write_index(cache, ["x"])["x"]
    write_index(cache, ["x"])
    assert index.sample_ids(5).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (np.zeros(2), FieldSpec("dense", "<f8", (2,))),
        (b"x", FieldSpec("ragged", content="bytes")),
        ([1], FieldSpec("ragged", content="json")),
        (b"", FieldSpec("image")),
    ],
)
def test_other_fields_have_no_index(tmp_path: Path, value: Any, spec: Any) -> None:
    """Arrays, bytes, JSON values and images cannot be indexed."""
    cache = make_cache(tmp_path, [value], spec)
    with pytest.raises(FieldTypeError, match="'x'"):
        write_index(cache, ["x"])
    with pytest.raises(FieldNotFoundError):
        write_index(cache, ["y"])


def test_text_that_numpy_would_change_is_refused(tmp_path: Path) -> None:
    """NumPy drops a NUL at the end of a str, so that two values would become one."""
    cache = make_cache(tmp_path, ["a", "a\0"], FieldSpec("ragged", content="str"))
    with pytest.raises(FieldTypeError, match="ends with NUL"):
        write_index(cache, ["x"])


def test_values_of_another_kind_are_refused(tmp_path: Path) -> None:
    """A str is not looked for among numbers, nor a number among texts."""
    numbers = write_index(make_cache(tmp_path / "n", [1, 2], LABELS), "x")["x"]
    texts = make_cache(tmp_path / "t", ["1"], FieldSpec("ragged", content="str"))
    with pytest.raises(TypeError, match=r"<i8|int64"):
        numbers.sample_ids("1")
    with pytest.raises(TypeError, match="'x'"):
        write_index(texts, "x")["x"].sample_ids(1)
    with pytest.raises(TypeError, match="'x'"):
        numbers.sample_ids([1, 2])


def test_damaged_indexes_are_errors(tmp_path: Path) -> None:
    """A cut file or another manifest is told, and never used."""
    cache = make_cache(tmp_path, [1, 2], LABELS)
    write_index(cache, ["x"])
    folder = cache.cache_dir / "index" / "x"
    manifest = json.loads((folder / "manifest.json").read_text())
    for change, error in (
        ({"version": 9}, UnsupportedVersionError),
        ({"format": "x"}, ManifestError),
        ({"arrays": {}}, ManifestError),
        ({"arrays": 3}, ManifestError),
        ({"directory": "../../x"}, ManifestError),
        *(
            ({"arrays": {**manifest["arrays"], "values": values}}, ManifestError)
            for values in (
                {**manifest["arrays"]["values"], "dtype": "|O"},
                {**manifest["arrays"]["values"], "dtype": "<i4,<i4"},
                {**manifest["arrays"]["values"], "count": -1},
                {**manifest["arrays"]["values"], "count": "2"},
            )
        ),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(error, match=r"manifest\.json"):
            cache.value_index("x")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / manifest["directory"] / "values.npy").write_bytes(b"")
    with pytest.raises(CorruptCacheError, match=r"values\.npy has 0 bytes.*--repair SOURCE"):
        SampleCache.open(cache.cache_dir).value_index("x")


def test_there_is_an_index_at_every_moment_of_a_renewal(tmp_path: Path) -> None:
    """Readers find an index while it is written again and again, by two processes."""
    cache = make_cache(tmp_path, list(range(100)), LABELS)
    write_index(cache, "x")
    script = """
import sys, slipstream_cache as s
for _ in range(40):
    s.write_index(sys.argv[1], "x")
"""
    command = [sys.executable, "-c", script, str(cache.cache_dir)]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        reads = 0
        while one.poll() is None or other.poll() is None:
            assert cache.value_index("x").sample_ids(7).tolist() == [7]
            reads += 1
    assert (one.returncode, other.returncode) == (0, 0)
    assert reads

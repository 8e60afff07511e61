"""Views: any tree of subsets and concatenations reads like the list of its samples."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream_cache import (
    DerivedNotFoundError,
    FieldNotFoundError,
    FieldSpec,
    FieldTypeError,
    IndexNotFoundError,
    Payloads,
    Recipe,
    SampleCache,
    SampleIdError,
    SampleReader,
    build,
    concatenate,
    delete_derived,
    derive,
    layout,
    subset,
    verify_payloads,
    write_index,
)
from slipstream_cache.testing import MemorySource, make_jpeg

BLOBS = Recipe("backwards", 1, FieldSpec("ragged", content="bytes"))
WIDTHS = Recipe("widths", 1, FieldSpec("dense", "<i4"))
COPIES = Recipe("copies", 1, FieldSpec("image"))


def make_samples(first: int, count: int) -> list[dict[str, Any]]:
    """Samples with a number that occurs nowhere else."""
    return [
        {
            "image": make_jpeg(i + 1, 3, body=bytes([i]) * (i % 5)),
            "label": i % 3,
            "vector": np.arange(i, i + 2, dtype="<f4"),
            "path": f"{i % 4}",
            "meta": {"i": i},
        }
        for i in range(first, first + count)
    ]


def derived_values(payloads: Payloads) -> Any:
    """The height as three bytes."""
    return np.repeat(payloads.heights.astype(np.uint8), 3), np.full(len(payloads), 3)


def derived_images(payloads: Payloads) -> Any:
    """One byte a payload."""
    rows = np.zeros(len(payloads), layout.IMAGE_SAMPLE_DTYPE)
    rows["size"], rows["height"] = 1, payloads.heights
    return payloads.heights.astype(np.uint8), rows


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[SampleCache, list[Any]]]:
    """Three caches of 20, 7 and 0 samples with indexes and derived fields, and their samples."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MAX_PART_SAMPLES", 6)
        for first, count in ((0, 20), (20, 7), (27, 0)):
            samples = make_samples(first, count)
            types = MemorySource(make_samples(0, 1)).field_types
            directory = tmp_path_factory.mktemp("views") / "c"
            cache = build(MemorySource(samples, types, f"{first}"), directory)
            write_index(cache, ["label", "path"])
            derive(cache, "image", "blobs", BLOBS, derived_values)
            derive(cache, "image", "copies", COPIES, derived_images)
            derive(cache, "image", "widths", WIDTHS, lambda payloads: payloads.heights)
            found.append((cache, samples))
    return found


def draw_view(data: st.DataObject, bases: Any, depth: int) -> tuple[SampleReader, list[Any]]:
    """A tree of views, and the samples that it should have."""
    kind = data.draw(st.sampled_from(["base", "subset", "concatenation"])) if depth else "base"
    if kind == "base":
        return bases[data.draw(st.integers(0, 2))]
    if kind == "subset":
        base, samples = draw_view(data, bases, depth - 1)
        last = len(samples) - 1
        ids = data.draw(st.lists(st.integers(0, last), max_size=12)) if samples else []
        return subset(base, ids), [samples[i] for i in ids]
    members = [draw_view(data, bases, depth - 1) for _ in range(data.draw(st.integers(1, 3)))]
    joined = [sample for _, samples in members for sample in samples]
    return concatenate(member for member, _ in members), joined


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_views_read_like_lists(data: st.DataObject, bases: Any) -> None:
    """Batches, samples, payloads, conditions, indexes and derived fields, pickled or not."""
    view, samples = draw_view(data, bases, 3)
    if data.draw(st.booleans()):
        view = pickle.loads(pickle.dumps(view))
    assert len(view) == view.num_samples == len(samples)
    assert list(view.fields) == ["image", "label", "vector", "path", "meta"]
    assert view.image_fields == ["image"]
    assert str(len(view)) in repr(view)
    ids = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=9)) if samples else []
    expected = [samples[i] for i in ids]
    batch = view.load_batch(ids)
    assert list(batch) == list(view.fields)
    for name in ("label", "path", "meta"):
        assert list(batch[name]) == [sample[name] for sample in expected]
    assert batch["vector"].tolist() == [sample["vector"].tolist() for sample in expected]
    assert batch["vector"].dtype == np.dtype("<f4")
    assert batch["image"]["data"].tobytes() == b"".join(s["image"] for s in expected)
    payloads = view.payloads("image", ids)
    assert payloads.sizes.tolist() == [len(sample["image"]) for sample in expected]
    assert payloads.widths.dtype == np.int32
    assert verify_payloads(payloads).all()
    assert view.conditions("image").tolist() == [0] * len(view)
    heights = payloads.heights.tolist()
    assert view.derived("image", "widths").load(ids).tolist() == heights
    blobs = view.derived("image", "blobs", BLOBS)
    assert len(blobs) == len(view)
    assert blobs.load(ids) == [bytes([height] * 3) for height in heights]
    assert blobs.blobs(ids).sizes.tolist() == [3] * len(ids)
    copies = view.derived("image", "copies")
    assert copies.load(ids)["data"].tolist() == [height % 256 for height in heights]
    assert copies.payloads(ids).heights.tolist() == heights
    for name in ("label", "path"):
        index = view.value_index(name)
        found = {sample[name] for sample in samples}
        assert set(index.values.tolist()) == found
        for value in found:
            wanted = [i for i, sample in enumerate(samples) if sample[name] == value]
            assert index.sample_ids(value).tolist() == wanted
    if samples:
        assert view[len(view) - 1]["meta"] == samples[-1]["meta"]


def test_ids_and_fields_of_views_are_checked(bases: Any) -> None:
    """Ids count in the view, and not in what is below it."""
    base = bases[0][0]
    for view in (subset(base, [3, 4, 5]), concatenate([subset(base, [1]), subset(base, [2, 3])])):
        for wrong in (3, -1):
            with pytest.raises(SampleIdError, match=rf"sample id {wrong} is not in \[0, 3\)"):
                view.load_batch([wrong])
            with pytest.raises(SampleIdError):
                view.derived("image", "blobs").load([wrong])
        with pytest.raises(FieldNotFoundError):
            view.load_batch([0], ["none"])
        with pytest.raises(FieldNotFoundError):
            view.payloads("label", [0])
        with pytest.raises(TypeError):
            view["image"]  # type: ignore[index]
    with pytest.raises(SampleIdError):
        subset(base, [20])


def test_only_like_is_concatenated(bases: Any, tmp_path: Path) -> None:
    """Other fields, other dtypes or no cache at all are refused."""
    other = build(MemorySource([{"label": np.int32(1)}]), tmp_path / "o")
    with pytest.raises(FieldTypeError, match="cache 1"):
        concatenate([bases[0][0], other])
    with pytest.raises(ValueError, match="no cache"):
        concatenate([])


def test_views_have_what_all_their_caches_have(tmp_path: Path) -> None:
    """An index or a derived field that one cache lacks is not there; nor with two recipes."""
    caches = [
        build(MemorySource(make_samples(k, 3), name=f"{k}"), tmp_path / f"{k}") for k in range(2)
    ]
    both = concatenate(caches)
    write_index(caches[0], "label")
    derive(caches[0], "image", "widths", WIDTHS, lambda payloads: payloads.heights)
    with pytest.raises(IndexNotFoundError):
        both.value_index("label")
    with pytest.raises(DerivedNotFoundError):
        both.derived("image", "widths")
    newer = Recipe("widths", 2, WIDTHS.spec)
    derive(caches[1], "image", "widths", newer, lambda payloads: payloads.heights)
    with pytest.raises(DerivedNotFoundError, match="one recipe"):
        both.derived("image", "widths")
    delete_derived(caches[1], "image", "widths")
    derive(caches[1], "image", "widths", WIDTHS, lambda payloads: payloads.heights)
    assert both.derived("image", "widths").load([0, 5]).tolist() == [1, 4]


def test_keys_tell_views_apart(tmp_path: Path) -> None:
    """Equal views have equal keys; other samples, another order or other caches another one."""
    first = build(MemorySource(make_samples(0, 5), name="first"), tmp_path / "slipcache-1")
    second = build(MemorySource(make_samples(5, 5), name="second"), tmp_path / "slipcache-2")
    views = [
        first,
        second,
        subset(first, [0, 1]),
        subset(first, [1, 0]),
        subset(second, [0, 1]),
        subset(subset(first, [0, 1]), [0, 1]),
        concatenate([first]),
        concatenate([first, second]),
        concatenate([second, first]),
    ]
    assert len({view.key for view in views}) == len(views)
    assert subset(first, np.array([0, 1], np.int32)).key == subset(first, [0, 1]).key


def test_a_view_knows_its_caches(tmp_path: Path) -> None:
    """Each once, in the order in which they come."""
    first = build(MemorySource(make_samples(0, 5), name="first"), tmp_path / "slipcache-1")
    second = build(MemorySource(make_samples(5, 5), name="second"), tmp_path / "slipcache-2")
    mixed = concatenate([subset(second, [1]), first, second])
    assert [cache.cache_dir for cache in mixed.caches] == [second.cache_dir, first.cache_dir]
    assert first.caches == (first,)

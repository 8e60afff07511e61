"""Iterables and generators as sources."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.utils.data

from slipstream_cache import FieldSpec, FieldTypeError, Source, SourceReadError
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources import IterableSource, open_source


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches lie in a folder of the test."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))


def sample(i: int) -> dict[str, Any]:
    return {
        "blob": bytes([i]) * i,
        "label": i,
        "score": i / 3,
        "vector": np.arange(i, i + 3, dtype=np.float16),
        "name": f"ü{i}",
        "boxes": [[i, None], {"a": i}],
        "flag": i % 2 == 0,
    }


def numbers(count: int = 10) -> Iterator[dict[str, Any]]:
    for i in range(count):
        yield sample(i)


class Stream(torch.utils.data.IterableDataset[dict[str, Any]]):
    """As users write them."""

    num_iterations = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        Stream.num_iterations += 1
        return numbers()


def check(found: Any) -> None:
    for i in range(10):
        value = found[i]
        assert (value.pop("vector") == sample(i)["vector"]).all()
        assert value == {key: item for key, item in sample(i).items() if key != "vector"}


@pytest.mark.parametrize("make", [numbers, lambda: numbers, Stream, lambda: iter(list(numbers()))])
def test_samples_come_back_equal(make: Any) -> None:
    """A generator, a function that makes one, a torch IterableDataset and an iterator."""
    source = open_source(make(), name="numbers-1")
    assert isinstance(source, IterableSource)
    assert isinstance(source, Source)
    assert source.field_types["vector"] == FieldSpec("dense", "<f2", (3,))
    assert len(source) == 10
    check(source)
    loader = SlipstreamLoader(source, 10, shuffle=False, verbose=False)
    check(loader.cache)
    assert next(iter(loader))["label"].tolist() == list(range(10))


def test_a_cache_is_found_without_iterating() -> None:
    """A second run opens the cache by its name and asks for no sample."""
    Stream.num_iterations = 0
    for _ in range(2):
        dataset = SlipstreamDataset(Stream(), name="stream-1")
        check(SlipstreamLoader(dataset, 5, verbose=False).cache)
    assert Stream.num_iterations == 1


def test_a_name_is_asked_for() -> None:
    """Without a name an iterable is refused with that advice."""
    with pytest.raises(SourceError, match=r"type generator cannot be told.*name='my-data-v1'"):
        open_source(numbers())
    with pytest.raises(SourceError, match="name="):
        SlipstreamDataset(Stream())


def test_a_generator_that_is_used_up() -> None:
    """Samples of a known generator that has none left are an error that says so."""
    len(IterableSource(numbers(), "once"))
    used = numbers(0)
    again = IterableSource(used, "once")
    assert len(again) == 10
    with pytest.raises(SourceReadError, match="used up"):
        again[0]


@pytest.mark.parametrize("is_made_by_a_function", [False, True])
def test_a_generator_that_was_begun_does_not_go_on(
    tmp_path: Path, is_made_by_a_function: bool
) -> None:
    """After a failure the rest of its samples is not taken for all of them."""
    samples = iter([{"x": 0}, {"x": "bad"}, {"x": 2}, {"x": 3}])
    source = IterableSource((lambda: samples) if is_made_by_a_function else samples, "begun")
    with pytest.raises(FieldTypeError, match="field 'x' of sample 1"):
        len(source)
    for _ in range(2):
        with pytest.raises(SourceReadError, match=r"was begun before.* make a new one"):
            len(source)
    assert not list(tmp_path.rglob("iterable-*"))


def test_other_samples_under_the_same_name() -> None:
    """A name that has become another content is refused when that is seen."""
    len(IterableSource(numbers(), "same"))
    source = IterableSource(lambda: numbers(4), "same")
    for _ in range(2):
        with pytest.raises(SourceReadError, match=r"gave 4 samples .* but 10 .* another name"):
            source[0]


def test_failures_while_the_samples_come(tmp_path: Path) -> None:
    """No samples, mixed types and an error of the generator are told; nothing is remembered."""
    with pytest.raises(EmptyDatasetError, match="memory:none has no samples"):
        len(IterableSource([], "none"))
    with pytest.raises(FieldTypeError, match=r"field 'x' of sample 1 \(mixed\[1\]\)"):
        len(IterableSource([{"x": 1}, {"x": "a"}], "mixed"))

    def breaks() -> Iterator[dict[str, Any]]:
        yield {"x": 1}
        raise ZeroDivisionError("of the generator")

    with pytest.raises(ZeroDivisionError):
        len(IterableSource(breaks, "breaks"))
    assert not list(tmp_path.rglob("iterable-*"))
    assert len(IterableSource([{"x": 1}], "breaks")) == 1


def test_options_take_part_in_the_fingerprint() -> None:
    """The same name with other fields or images is another cache."""
    options: list[dict[str, Any]] = [{}, {"fields": ["a"]}, {"fields": ["b"]}, {"images": ["a"]}]
    sources = [IterableSource([0], "options", **given) for given in options]
    assert len({source.fingerprint() for source in sources}) == 4


def test_it_stays_in_its_process() -> None:
    """Pickling is refused."""
    with pytest.raises(TypeError, match="other processes"):
        pickle.dumps(IterableSource(numbers, "x"))

"""Property: whatever is done to a cache in whatever order, it is what a plain model says."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from slipstream_cache import (
    CacheNotFoundError,
    DerivedNotFoundError,
    FieldSpec,
    IndexNotFoundError,
    Payloads,
    Recipe,
    SampleCache,
    SourceReadError,
    build,
    delete_derived,
    derive,
    layout,
    read_stats,
    repair,
    verify,
    write_index,
    write_stats,
)
from slipstream_cache.testing import MemorySource, make_jpeg

COUNT, PER_PART = 14, 3
SAMPLES: list[dict[str, Any]] = [
    {"image": make_jpeg(i + 1, 9, body=bytes([i]) * i), "label": i % 4, "path": "ü" * (i % 3)}
    for i in range(COUNT)
]
SOURCE = MemorySource(SAMPLES)
PARTS = [f"part-{number:05d}" for number in range(-(-COUNT // PER_PART))]
FILES = ["image.bin", "image.samples.npy", "label.npy", "path.bin", "path.offsets.npy"]
IDS = st.lists(st.integers(0, COUNT - 1), max_size=8)
INDEXED = st.sampled_from(["label", "path"])
DERIVED = st.sampled_from(["one", "two"])


def recipe_of(version: int) -> Recipe:
    """How a derived field of a version is made."""
    return Recipe("marked", version, FieldSpec("ragged", content="bytes"))


def marked(sample_id: int, version: int) -> bytes:
    """The derived value of a sample."""
    return bytes([version]) + bytes(SAMPLES[sample_id]["image"])


def part_of(sample_id: int) -> str:
    """The part that holds a sample."""
    return PARTS[sample_id // PER_PART]


class CacheMachine(RuleBasedStateMachine):
    """A cache, and what it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.directory = self.folder / "cache"
        self.is_published = False
        self.damaged: dict[Path, str] = {}
        """Damaged file -> its part, or the addition that it belongs to."""
        self.indexes: set[str] = set()
        self.derived: dict[str, int] = {}
        self.stats: int | None = None
        self.handles: list[SampleCache] = []
        self.limit = mock.patch.object(layout, "MAX_PART_SAMPLES", PER_PART)
        self.limit.start()

    def teardown(self) -> None:
        self.limit.stop()
        shutil.rmtree(self.folder)

    @initialize(failing=st.none() | st.integers(0, COUNT - 1))
    def interrupted_build(self, failing: int | None) -> None:
        """A build that fails publishes nothing."""
        if failing is None:
            return
        samples = [OSError("no") if i == failing else s for i, s in enumerate(SAMPLES)]
        with pytest.raises(SourceReadError):
            build(MemorySource(samples, SOURCE.field_types), self.directory)
        with pytest.raises(CacheNotFoundError):
            SampleCache.open(self.directory)

    @rule(num_workers=st.integers(1, 3))
    def build(self, num_workers: int) -> None:
        """Building again opens what is there."""
        self.handles.append(build(SOURCE, self.directory, num_workers=num_workers))
        self.is_published = True

    @precondition(lambda self: self.is_published)
    @rule()
    def open(self) -> None:
        """One more open cache."""
        self.handles.append(SampleCache.open(self.directory))

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), ids=IDS)
    def read(self, data: st.DataObject, ids: list[int]) -> None:
        """Samples of whole parts are what went in, in any open cache."""
        whole = [i for i in ids if part_of(i) not in self.damaged.values()]
        batch = self.handle(data).load_batch(whole)
        assert batch["label"].tolist() == [SAMPLES[i]["label"] for i in whole]
        assert batch["path"] == [SAMPLES[i]["path"] for i in whole]
        assert batch["image"]["data"].tobytes() == b"".join(SAMPLES[i]["image"] for i in whole)

    @precondition(lambda self: self.handles and not self.parts_are_damaged())
    @rule(data=st.data(), field=INDEXED)
    def index(self, data: st.DataObject, field: str) -> None:
        """An index is made, or made again."""
        write_index(self.handle(data), field)
        self.indexes.add(field)
        self.forget(f"index/{field}")

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), field=INDEXED)
    def look_up(self, data: st.DataObject, field: str) -> None:
        """Every open cache finds the index that there is."""
        cache = self.handle(data)
        if f"index/{field}" in self.damaged.values():
            return
        if field not in self.indexes:
            with pytest.raises(IndexNotFoundError):
                cache.value_index(field)
            return
        index = cache.value_index(field)
        for value in {sample[field] for sample in SAMPLES}:
            expected = [i for i, sample in enumerate(SAMPLES) if sample[field] == value]
            assert index.sample_ids(value).tolist() == expected

    @precondition(lambda self: self.handles and not self.parts_are_damaged())
    @rule(data=st.data(), name=DERIVED, version=st.integers(1, 2), fails=st.booleans())
    def derive(self, data: st.DataObject, name: str, version: int, fails: bool) -> None:
        """A derived field is made, or made again by another recipe, or its making fails."""
        if f"derived/image.{name}" in self.damaged.values():
            return

        def mark(payloads: Payloads) -> Any:
            if fails and COUNT in payloads.heights:
                raise ZeroDivisionError
            values = [marked(height - 1, version) for height in payloads.heights.tolist()]
            return np.frombuffer(b"".join(values), np.uint8), np.array([len(v) for v in values])

        try:
            derive(self.handle(data), "image", name, recipe_of(version), mark)
        except ZeroDivisionError:
            return
        self.derived[name] = version

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), name=DERIVED)
    def delete_derived(self, data: st.DataObject, name: str) -> None:
        """A derived field goes, whole or not."""
        delete_derived(self.handle(data), "image", name)
        self.derived.pop(name, None)
        self.forget(f"derived/image.{name}")

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), name=DERIVED, ids=IDS)
    def read_derived(self, data: st.DataObject, name: str, ids: list[int]) -> None:
        """Every open cache finds the derived field that there is, and its recipe."""
        cache, version = self.handle(data), self.derived.get(name)
        if f"derived/image.{name}" in self.damaged.values():
            return
        if version is None:
            with pytest.raises(DerivedNotFoundError):
                cache.derived("image", name)
            return
        with pytest.raises(DerivedNotFoundError):
            cache.derived("image", name, recipe_of(3 - version))
        found = cache.derived("image", name, recipe_of(version))
        assert found.load(ids) == [marked(i, version) for i in ids]

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), value=st.integers())
    def write_stats(self, data: st.DataObject, value: int) -> None:
        """The last result is kept."""
        write_stats(self.handle(data), "result", ["label"], {"value": value})
        self.stats = value

    @precondition(lambda self: self.is_published)
    @rule(data=st.data(), part=st.sampled_from(PARTS), file=st.sampled_from(FILES))
    def damage_part(self, data: st.DataObject, part: str, file: str) -> None:
        """A file of a part is lost, cut, or changed in one bit."""
        self.damage(data, self.directory / part / file, part)

    @precondition(lambda self: self.indexes or self.derived)
    @rule(data=st.data())
    def damage_addition(self, data: st.DataObject) -> None:
        """A file of an index or of a derived field is lost, cut, or changed in one bit."""
        names = [f"index/{name}" for name in self.indexes]
        names += [f"derived/image.{name}" for name in self.derived]
        name = data.draw(st.sampled_from(sorted(names)))
        files = {path for path in (self.directory / name).rglob("*.*") if path.suffix != ".json"}
        current = {path for path in files if self.is_current(name, path)}
        self.damage(data, data.draw(st.sampled_from(sorted(current))), name)

    @precondition(lambda self: self.is_published)
    @rule()
    def verify(self) -> None:
        """A full check finds exactly the damaged files."""
        report = verify(self.directory, level="full")
        assert {problem.path for problem in report.problems} >= set(self.damaged)
        assert {self.owner(problem.path) for problem in report.problems} == {*self.damaged.values()}
        if not self.parts_are_damaged():
            assert verify(self.directory, source=SOURCE).num_compared == COUNT

    @precondition(lambda self: self.is_published)
    @rule()
    def repair(self) -> None:
        """Parts come back; damaged additions are gone until they are made again."""
        repair(verify(self.directory, level="full"), SOURCE)
        for owner in self.damaged.values():
            kind, _, name = owner.partition("/")
            if kind == "index":
                self.indexes.discard(name)
            elif kind == "derived":
                self.derived.pop(name.removeprefix("image."), None)
        self.damaged.clear()
        assert verify(self.directory, level="full", source=SOURCE).ok

    @invariant()
    def statistics_are_the_last_ones(self) -> None:
        """They are found as long as there is a cache."""
        if self.is_published:
            found = read_stats(SampleCache.open(self.directory), "result")
            assert found == (None if self.stats is None else {"value": self.stats})

    def handle(self, data: st.DataObject) -> SampleCache:
        """Any of the open caches."""
        return self.handles[data.draw(st.integers(0, len(self.handles) - 1))]

    def parts_are_damaged(self) -> bool:
        """Whether any part of the cache itself is damaged."""
        return any(owner.startswith("part-") for owner in self.damaged.values())

    def is_current(self, name: str, path: Path) -> bool:
        """Whether a file belongs to the published state of an addition."""
        text = (self.directory / name / "manifest.json").read_text()
        return path.relative_to(self.directory / name).parts[0] in text and path.exists()

    def owner(self, path: Path) -> str:
        """The part or the addition that a file belongs to."""
        place = path.relative_to(self.directory).parts
        return place[0] if place[0].startswith("part-") else "/".join(place[:2])

    def damage(self, data: st.DataObject, path: Path, owner: str) -> None:
        """Put something else in the place of a file; maps of it stay as they are."""
        if path in self.damaged:
            return
        content = path.read_bytes()
        how = data.draw(st.sampled_from(["lose", "cut", "flip"]))
        path.unlink()
        self.damaged[path] = owner
        if how == "cut" and content:
            path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        elif how == "flip" and content:
            changed = bytearray(content)
            changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
            path.write_bytes(changed)

    def forget(self, owner: str) -> None:
        """What replaced an addition is not damaged."""
        self.damaged = {path: name for path, name in self.damaged.items() if name != owner}


TestCache = CacheMachine.TestCase
TestCache.settings = settings(
    max_examples=int(os.environ.get("SLIPSTREAM_STATEFUL_EXAMPLES", "20")),
    stateful_step_count=25,
    deadline=None,
)

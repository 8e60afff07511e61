"""One directory of caches and several users: permissions, groups, lock files of others."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream_cache import CacheWriteError, SampleCache, build, write_index
from slipstream_cache.testing import MemorySource

pytestmark = [
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be other users"
    ),
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
GROUP, ALICE, BOB = 54_320, 54_321, 54_322
SAMPLES = [{"label": i % 3, "data": bytes([i]) * i} for i in range(50)]


def as_user(user: int, umask: int, work: Callable[[], None]) -> None:
    """Do something as another user of the group; a failure is raised here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([GROUP])
            os.setgid(GROUP)
            os.setuid(user)
            os.umask(umask)
            work()
        except BaseException:  # noqa: BLE001  (told to the parent)
            os.write(writer, traceback.format_exc()[-3000:].encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        failure = told.read()
    os.waitpid(child, 0)
    assert not failure, failure


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory as administrators make it for a group; what is needed was imported before."""
    root = Path(tempfile.mkdtemp(prefix="shared-"))
    try:
        warm = build(MemorySource(SAMPLES), root / "warm")
        write_index(warm, fields=["label"])
        check(warm)
        check(SampleCache.open(root / "warm"))
        warm.value_index("label").sample_ids(0)
        shutil.rmtree(root / "warm")
        (root / "warm.lock").unlink(missing_ok=True)
        os.chown(root, 0, GROUP)
        root.chmod(0o2775)
        yield root
    finally:
        shutil.rmtree(root)


def check(cache: SampleCache) -> None:
    """All samples are there."""
    found = cache.load_batch(range(len(SAMPLES)))
    assert found["label"].tolist() == [sample["label"] for sample in SAMPLES]
    assert [cache[i]["data"] for i in range(50)] == [sample["data"] for sample in SAMPLES]


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_what_one_user_has_built_another_reads(shared: Path, umask: int) -> None:
    """Whatever the umask; lock files of the first do not stop the second."""
    place = shared / "slipcache-x"

    def second() -> None:
        check(build(MemorySource(SAMPLES), place))
        check(SampleCache.open(place))
        check(build(MemorySource(SAMPLES), shared / "slipcache-y"))

    as_user(ALICE, umask, lambda: check(build(MemorySource(SAMPLES), place)))
    as_user(BOB, umask, second)
    assert place.stat().st_uid == ALICE
    assert (shared / "slipcache-y").stat().st_uid == BOB
    assert place.stat().st_gid == GROUP


def test_who_may_not_write_is_told_and_reads(shared: Path) -> None:
    """An index needs write access to the cache; nothing is left of the attempt."""
    place = shared / "slipcache-x"

    def second() -> None:
        cache = SampleCache.open(place)
        with pytest.raises(CacheWriteError, match="Permission denied"):
            write_index(cache, fields=["label"])
        check(cache)

    as_user(ALICE, 0o022, lambda: check(build(MemorySource(SAMPLES), place)))
    before = sorted(path.name for path in place.rglob("*"))
    as_user(BOB, 0o022, second)
    assert sorted(path.name for path in place.rglob("*")) == before


def test_a_group_works_on_one_cache(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One begins a build, another ends it; an index of one is used by the other."""
    place = shared / "slipcache-x"
    monkeypatch.setattr("slipstream_cache.layout.MAX_PART_SAMPLES", 8)

    def begin() -> None:
        broken = [*SAMPLES[:49], ZeroDivisionError()]
        with pytest.raises(ZeroDivisionError):
            build(MemorySource(broken, MemorySource(SAMPLES).field_types), place, num_workers=1)

    def end() -> None:
        cache = build(MemorySource(SAMPLES), place)
        check(cache)
        write_index(cache, fields=["label"])

    def use() -> None:
        cache = SampleCache.open(place)
        check(cache)
        assert cache.value_index("label").sample_ids(1).tolist() == list(range(1, 50, 3))

    as_user(ALICE, 0o002, begin)
    owners = {path.stat().st_uid for path in place.iterdir()}
    as_user(BOB, 0o002, end)
    as_user(ALICE, 0o002, use)
    assert owners == {ALICE}
    assert {path.stat().st_uid for path in place.glob("part-*")} == {ALICE, BOB}

"""Derived fields: right, resumable, published whole, renewed when stale, and never lost."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    CacheWriteError,
    Codec,
    Condition,
    DerivedNotFoundError,
    FieldNameError,
    FieldNotFoundError,
    FieldSpec,
    FieldTypeError,
    ManifestError,
    Payloads,
    Recipe,
    SampleCache,
    SampleIdError,
    UnsupportedVersionError,
    build,
    delete_derived,
    derive,
    gather,
    layout,
)
from slipstream_cache.derived import derived_document, parse_derived
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree

COUNT = 50
IMAGES = [make_jpeg(i + 1, 2 * i + 1, body=bytes([i]) * (i * 7 % 40)) for i in range(COUNT)]
BATCH = [49, 0, 7, 7, 23]
REVERSED = Recipe("reversed", 1, FieldSpec("ragged", content="bytes"), {"by": ["byte", 1]})
LENGTHS = Recipe("lengths", 1, FieldSpec("dense", "<i4", (2,)))
COPIES = Recipe("copies", 3, FieldSpec("image"))


def bytes_of(payloads: Payloads) -> list[bytes]:
    """The payloads of a run."""
    offsets = np.cumsum(payloads.sizes) - payloads.sizes
    out = np.empty(int(payloads.sizes.sum()), np.uint8)
    gather(payloads, out, offsets)
    return [out[a:b].tobytes() for a, b in zip(offsets, np.cumsum(payloads.sizes), strict=True)]


def flat(values: list[bytes]) -> Any:
    """Values one after another, and their sizes."""
    return np.frombuffer(b"".join(values), np.uint8), np.array([len(v) for v in values])


def reverse(payloads: Payloads) -> Any:
    """Each payload backwards."""
    return flat([value[::-1] for value in bytes_of(payloads)])


def lengths(payloads: Payloads) -> Any:
    """Each payload's size, and the height."""
    return np.stack([payloads.sizes, payloads.heights], axis=1).astype(np.int32)


def copies(payloads: Payloads) -> Any:
    """An image twice as long as each payload; every seventh is damaged."""
    data, sizes = flat([2 * value for value in bytes_of(payloads)])
    rows = np.zeros(len(payloads), IMAGE_SAMPLE_DTYPE)
    rows["size"], rows["height"], rows["width"] = sizes, payloads.heights, payloads.widths
    rows["codec"] = Codec.YUV420
    rows["condition"] = np.where(payloads.heights % 7 == 0, Condition.DAMAGED, Condition.SOUND)
    return data, rows


def make_cache(directory: Path, images: list[bytes] = IMAGES, name: str = "memory") -> SampleCache:
    """A cache of images."""
    samples = [{"image": image, "label": i} for i, image in enumerate(images)]
    return build(MemorySource(samples, name=name), directory)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleCache:
    """A cache of seven parts."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    return make_cache(tmp_path / "c")


def test_ragged_values_have_addresses(cache: SampleCache) -> None:
    """A blob for each sample, read by copy or in place, in any order."""
    found = derive(cache, "image", "seek", REVERSED, reverse)
    assert len(found) == COUNT
    assert found.load(BATCH) == [IMAGES[i][::-1] for i in BATCH]
    blobs = found.blobs(BATCH)
    assert blobs.sizes.tolist() == [len(IMAGES[i]) for i in BATCH]
    payloads = cache.payloads("image", BATCH)
    payloads.addresses[:] = blobs.addresses
    assert bytes_of(payloads) == [IMAGES[i][::-1] for i in BATCH]
    with pytest.raises(FieldTypeError, match="ragged, not image"):
        found.payloads(BATCH)
    with pytest.raises(SampleIdError, match=r"sample id 50 is not in \[0, 50\)"):
        found.blobs([50])


def test_image_values_are_payloads(cache: SampleCache) -> None:
    """Payloads with headers, conditions and padding, like a field of the cache."""
    found = derive(cache, "image", "yuv420", COPIES, copies)
    payloads = found.payloads(BATCH)
    assert bytes_of(payloads) == [2 * IMAGES[i] for i in BATCH]
    assert payloads.heights.tolist() == [i + 1 for i in BATCH]
    assert set(payloads.codecs.tolist()) == {Codec.YUV420}
    assert payloads.conditions.tolist() == [int((i + 1) % 7 == 0) for i in BATCH]
    assert found.load(BATCH)["data"].tobytes() == b"".join(2 * IMAGES[i] for i in BATCH)
    with pytest.raises(FieldTypeError, match="image, not ragged"):
        found.blobs(BATCH)


def test_values_may_be_arrays_of_their_own(cache: SampleCache) -> None:
    """A list of arrays in place of one: the same bytes; their number and sizes are checked."""

    def listed(payloads: Payloads) -> Any:
        data, rows = copies(payloads)
        return np.split(data, np.cumsum(rows["size"])[:-1]), rows

    recipe = Recipe("others", 1, COPIES.spec)
    expected = derive(cache, "image", "one", COPIES, copies)
    found = derive(cache, "image", "other", recipe, listed)
    for one, other in zip(expected.parts, found.parts, strict=True):
        assert one.files["one.bin"] == other.files["other.bin"]
    for wrong in (
        lambda payloads: (listed(payloads)[0][1:], listed(payloads)[1]),
        lambda payloads: ([value[:-1] for value in listed(payloads)[0]], listed(payloads)[1]),
    ):
        with pytest.raises(FieldTypeError, match="sizes of the values"):
            derive(cache, "image", "wrong", recipe, wrong)


def test_dense_values_are_arrays(cache: SampleCache) -> None:
    """One value of the recipe's dtype and shape for each sample."""
    found = derive(cache, "image", "sizes", LENGTHS, lengths)
    assert found.load(BATCH).tolist() == [[len(IMAGES[i]), i + 1] for i in BATCH]
    assert found.load(BATCH).dtype == np.dtype("<i4")


def test_a_cache_without_samples_has_derived_fields(tmp_path: Path) -> None:
    """Nothing is derived from nothing, and it is published all the same."""
    source = MemorySource([], {"image": FieldSpec("image")})
    cache = build(source, tmp_path / "empty")
    assert len(derive(cache, "image", "seek", REVERSED, reverse)) == 0


@pytest.mark.parametrize("num_workers", [1, 2, 7])
def test_bytes_do_not_depend_on_the_threads(cache: SampleCache, num_workers: int) -> None:
    """Any number of threads writes the same files as one."""
    seen: list[tuple[int, int]] = []
    trees = []
    for workers in (1, num_workers):
        delete_derived(cache, "image", "yuv420")
        derive(
            cache,
            "image",
            "yuv420",
            COPIES,
            copies,
            num_workers=workers,
            progress=lambda *counts: seen.append(counts),
        )
        trees.append(read_tree(cache.cache_dir / "derived" / "image.yuv420"))
    assert trees[0] == trees[1]
    assert seen[-1] == (COUNT, COUNT)
    assert len(trees[0]) == 1 + 7 * 3


def test_an_interrupted_derivation_goes_on(cache: SampleCache) -> None:
    """Sealed parts are not made again, nothing is seen before the manifest, bytes are the same."""
    derive(cache, "image", "seek", REVERSED, reverse)
    expected = read_tree(cache.cache_dir / "derived")
    delete_derived(cache, "image", "seek")

    def fail(payloads: Payloads) -> Any:
        if 20 in payloads.heights:
            raise RuntimeError("interrupted")
        return reverse(payloads)

    with pytest.raises(RuntimeError, match="interrupted"):
        derive(cache, "image", "seek", REVERSED, fail, num_workers=1)
    with pytest.raises(DerivedNotFoundError):
        cache.derived("image", "seek")
    made: list[int] = []

    def count(payloads: Payloads) -> Any:
        made.extend(payloads.heights.tolist())
        return reverse(payloads)

    derive(cache, "image", "seek", REVERSED, count, num_workers=1)
    assert sorted(made) == list(range(17, COUNT + 1))
    assert read_tree(cache.cache_dir / "derived") == expected
    derive(cache, "image", "seek", REVERSED, fail)


def test_a_missing_or_cut_part_is_made_again(cache: SampleCache) -> None:
    """``derive`` looks at the sizes of all files, and makes what is not whole again."""
    found = derive(cache, "image", "seek", REVERSED, reverse)
    expected = read_tree(cache.cache_dir / "derived")
    (found.directory / "part-00003" / "seek.bin").write_bytes(b"cut")
    (found.directory / "part-00001" / "seek.offsets.npy").unlink()
    derive(cache, "image", "seek", REVERSED, reverse)
    assert read_tree(cache.cache_dir / "derived") == expected


def test_an_open_cache_finds_what_others_derive(cache: SampleCache) -> None:
    """Two processes derive different fields, and this one finds both when it asks."""
    with pytest.raises(DerivedNotFoundError, match=r"no derived field image\.seek"):
        cache.derived("image", "seek")
    script = """
        import sys, time, numpy as np, slipstream_cache as s
        def sizes(payloads):
            time.sleep(0.01)
            return payloads.sizes.astype(np.int32)
        recipe = s.Recipe("sizes", 1, s.FieldSpec("dense", "<i4"))
        s.derive(sys.argv[1], "image", sys.argv[2], recipe, sizes)
    """
    names = ["one", "two", "two", "two"]
    command = [sys.executable, "-c", textwrap.dedent(script), str(cache.cache_dir)]
    processes = [subprocess.Popen([*command, name]) for name in names]
    assert [process.wait(timeout=120) for process in processes] == [0] * len(names)
    for name in set(names):
        found = cache.derived("image", name)
        assert found.load(BATCH).tolist() == [len(IMAGES[i]) for i in BATCH]


def test_derivations_without_locks_agree(
    cache: SampleCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that share no lock publish one whole field."""
    monkeypatch.setattr("slipstream_cache.publish.FileLock", _NoLock)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            found = derive(cache, "image", "seek", REVERSED, reverse)
            assert found.load(BATCH) == [IMAGES[i][::-1] for i in BATCH]
        except Exception as error:  # noqa: BLE001  (reported below)
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    names = [path.name for path in (cache.cache_dir / "derived" / "image.seek").iterdir()]
    assert len(names) == 2


class _NoLock:
    """A lock that locks nothing."""

    def __init__(self, path: str) -> None: ...
    def acquire(self, timeout: float = -1) -> None: ...
    def release(self) -> None: ...


def test_another_recipe_makes_it_stale(
    cache: SampleCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version is ignored with a warning, rebuilt on request, and held by who has it."""
    old = derive(cache, "image", "seek", REVERSED, reverse)
    newer = Recipe("reversed", 2, REVERSED.spec, REVERSED.options)
    with caplog.at_level(logging.WARNING, "slipstream_cache"), pytest.raises(DerivedNotFoundError):
        cache.derived("image", "seek", newer)
    assert "out of date" in caplog.text
    assert cache.derived("image", "seek").recipe == REVERSED
    new = derive(cache, "image", "seek", newer, lambda payloads: flat(bytes_of(payloads)))
    assert new.load(BATCH) == [IMAGES[i] for i in BATCH]
    assert cache.derived("image", "seek", newer).recipe == newer
    assert old.load(BATCH) == [IMAGES[i][::-1] for i in BATCH]
    assert not old.directory.exists()


def test_another_parent_makes_it_stale(
    cache: SampleCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made from other bytes is ignored with a warning, and made again."""
    derive(cache, "image", "seek", REVERSED, reverse)
    other = make_cache(tmp_path / "other", IMAGES[::-1], "other")
    (cache.cache_dir / "derived").rename(other.cache_dir / "derived")
    with caplog.at_level(logging.WARNING, "slipstream_cache"), pytest.raises(DerivedNotFoundError):
        other.derived("image", "seek")
    assert "another state" in caplog.text
    assert derive(other, "image", "seek", REVERSED, reverse).load([0]) == [IMAGES[-1][::-1]]


def test_deleting_is_seen_and_holds_nobody_up(cache: SampleCache) -> None:
    """A deleted field is gone for who asks, and stays readable for who has it open."""
    found = derive(cache, "image", "seek", REVERSED, reverse)
    delete_derived(cache.cache_dir, "image", "seek")
    delete_derived(cache, "image", "seek")
    with pytest.raises(DerivedNotFoundError):
        cache.derived("image", "seek")
    assert found.load(BATCH) == [IMAGES[i][::-1] for i in BATCH]


def test_leftovers_go_after_a_day(cache: SampleCache) -> None:
    """What killed processes left is removed by the next publication; foreign files stay."""
    directory = cache.cache_dir / "derived" / "image.seek"
    for name in ("0" * 16, "1" * 16, "notes"):
        (directory / name / "part-00000").mkdir(parents=True)
    os.utime(directory / ("0" * 16), (1, 1))
    derive(cache, "image", "seek", REVERSED, reverse)
    names = {path.name for path in directory.iterdir()}
    assert names >= {"1" * 16, "notes"}
    assert "0" * 16 not in names


def test_a_pickled_field_is_its_place(cache: SampleCache) -> None:
    """A pickle is small and opens the same field again."""
    found = derive(cache, "image", "seek", REVERSED, reverse)
    text = pickle.dumps(found)
    assert len(text) < 1000
    assert pickle.loads(text).load(BATCH) == found.load(BATCH)


@pytest.mark.parametrize(
    ("recipe", "result"),
    [
        (REVERSED, (np.zeros(3, np.uint8), np.array([1, 1]))),
        (REVERSED, (np.zeros(3, np.uint8), np.array([4, -1]))),
        (REVERSED, (np.zeros(3, np.int8), np.array([2, 1]))),
        (REVERSED, (np.zeros(3, np.uint8), np.array([3]))),
        (REVERSED, None),
        (LENGTHS, np.zeros((2, 2), np.int64)),
        (LENGTHS, np.zeros((2, 3), np.int32)),
        (COPIES, (np.zeros(0, np.uint8), np.zeros(2, np.int64))),
    ],
)
def test_wrong_results_are_named(tmp_path: Path, recipe: Any, result: Any) -> None:
    """A function that returns something else is told which samples, and nothing is published."""
    cache = make_cache(tmp_path / "c", IMAGES[:2])
    with pytest.raises(FieldTypeError, match=r"image\.made returned for samples 0 to 1"):
        derive(cache, "image", "made", recipe, lambda payloads: result)
    with pytest.raises(DerivedNotFoundError):
        cache.derived("image", "made")


def test_names_and_fields_are_checked(cache: SampleCache) -> None:
    """Only image fields have derived fields, and their names are plain words."""
    for name in ("../x", "a.b", "", "Seek", "x" * 60):
        with pytest.raises(FieldNameError):
            derive(cache, "image", name, REVERSED, reverse)
    for field in ("label", "missing"):
        with pytest.raises(FieldNotFoundError):
            derive(cache, field, "seek", REVERSED, reverse)
        with pytest.raises(FieldNotFoundError):
            cache.derived(field, "seek")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"version": 9}, UnsupportedVersionError),
        ({"format": "x"}, ManifestError),
        ({"parts": []}, ManifestError),
        ({"parts": 3}, ManifestError),
        ({"directory": "../../elsewhere"}, ManifestError),
        ({"recipe": {}}, ManifestError),
    ],
)
def test_damaged_manifests_are_errors(cache: SampleCache, change: Any, error: Any) -> None:
    """A manifest that is not ours or contradicts itself is told, and made again on request."""
    derive(cache, "image", "seek", REVERSED, reverse)
    path = cache.cache_dir / "derived" / "image.seek" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(error, match=r"manifest\.json"):
        cache.derived("image", "seek")
    made = derive(cache, "image", "seek", REVERSED, reverse)
    assert made.load([3]) == [IMAGES[3][::-1]]


def test_a_version_is_a_number(cache: SampleCache) -> None:
    """A manifest from elsewhere with a version that cannot be compared is refused."""
    made = derive(cache, "image", "seek", REVERSED, reverse)
    odd = Recipe(REVERSED.name, "1", REVERSED.spec, REVERSED.options)  # type: ignore[arg-type]
    document = derived_document(cache.manifest, "image", "seek", odd, made.parts)
    with pytest.raises(ManifestError, match="'1' is not a count"):
        parse_derived(document, cache.manifest, "image", "seek", "there")


def test_no_place_to_write_is_told(cache: SampleCache) -> None:
    """What hinders writing is one clear error."""
    (cache.cache_dir / "derived").write_text("a file")
    with pytest.raises(CacheWriteError, match="cannot write the derived field"):
        derive(cache, "image", "seek", REVERSED, reverse)

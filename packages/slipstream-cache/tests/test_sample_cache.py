"""Reading a cache: batches, ids, corruption, threads, processes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    CacheNotFoundError,
    CorruptCacheError,
    FieldNotFoundError,
    ManifestError,
    SampleCache,
    SampleIdError,
    UnsupportedVersionError,
    build,
    gather,
    layout,
)
from slipstream_cache.layout import PAYLOAD_PADDING_BYTES
from slipstream_cache.testing import MemorySource, make_jpeg

COUNT = 50
SAMPLES: list[dict[str, Any]] = [
    {
        "image": make_jpeg(i + 1, 2 * i + 1, body=bytes([i]) * (i * 7 % 40), orientation=i % 9),
        "label": i * i,
        "vector": np.arange(i, i + 3, dtype="<f2"),
        "path": "ü" * (i % 4),
        "raw": bytes([i]) * (i % 3),
        "meta": {"i": [i, None]},
    }
    for i in range(COUNT)
]
BATCH = [49, 0, 7, 7, 23]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cache of seven parts."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    return build(MemorySource(SAMPLES), tmp_path / "c")


def test_batches_have_the_documented_form(cache: SampleCache) -> None:
    """Each kind of field comes in its form, in the order of the ids, repeats included."""
    batch = cache.load_batch(BATCH)
    assert batch["label"].tolist() == [i * i for i in BATCH]
    assert batch["label"].dtype == np.dtype("<i8")
    assert (batch["vector"] == [SAMPLES[i]["vector"] for i in BATCH]).all()
    assert batch["vector"].dtype == np.dtype("<f2")
    for name in ("path", "raw", "meta"):
        assert batch[name] == [SAMPLES[i][name] for i in BATCH]
    image = batch["image"]
    kinds = {name: array.dtype for name, array in image.items()}
    assert kinds == {
        "data": np.uint8,
        "offsets": np.int64,
        "sizes": np.int64,
        "heights": np.int32,
        "widths": np.int32,
        "codecs": np.uint8,
        "orientations": np.uint8,
    }
    assert image["data"].tobytes() == b"".join(SAMPLES[i]["image"] for i in BATCH)
    assert (image["offsets"] == np.cumsum(image["sizes"]) - image["sizes"]).all()
    assert image["heights"].tolist() == [i + 1 for i in BATCH]
    assert image["widths"].tolist() == [2 * i + 1 for i in BATCH]


def test_only_the_named_fields_are_read(cache: SampleCache) -> None:
    """Other fields are neither loaded nor opened."""
    for part in cache.manifest.parts:
        (cache.cache_dir / part.name / "image.bin").unlink()
    assert list(cache.load_batch(BATCH, ["raw", "label"])) == ["raw", "label"]
    with pytest.raises(FieldNotFoundError, match="no field 'masks'"):
        cache.load_batch(BATCH, ["masks"])


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda ids: np.array(ids, np.uint16)])
def test_ids_may_be_any_integers(cache: SampleCache, kind: Any) -> None:
    """Lists, tuples and integer arrays name samples."""
    assert cache.load_batch(kind(BATCH), ["label"])["label"].tolist() == [i * i for i in BATCH]


@pytest.mark.parametrize("wrong", [-1, COUNT, 2**63 - 1, np.iinfo(np.int64).min])
def test_ids_out_of_range_are_named(cache: SampleCache, wrong: Any) -> None:
    """Negative ids do not count from the end."""
    with pytest.raises(SampleIdError, match=rf"sample id {wrong} is not in \[0, 50\)"):
        cache.load_batch([3, wrong])
    with pytest.raises(IndexError):
        cache[wrong]


@pytest.mark.parametrize("wrong", [[0.5], [[1]], 3, ["1"], [True]])
def test_ids_that_are_no_integers_are_refused(cache: SampleCache, wrong: Any) -> None:
    """Floats, masks and tables are not sample ids."""
    with pytest.raises(TypeError, match="sample ids must be"):
        cache.payloads("image", wrong)


def test_single_samples(cache: SampleCache) -> None:
    """``cache[i]`` is one sample, and iteration ends at the last one."""
    for found, given in zip(cache, SAMPLES, strict=True):
        assert found.keys() == given.keys()
        assert (found.pop("vector") == given["vector"]).all()
        assert found == {name: value for name, value in given.items() if name != "vector"}
    assert type(cache[3]["label"]) is np.int64
    with pytest.raises(TypeError, match="a sample id is an int"):
        cache["image"]  # type: ignore[index]


def test_payloads_are_where_they_say(cache: SampleCache) -> None:
    """Addresses and sizes give the bytes without a copy, readable past their end."""
    payloads = cache.payloads("image", BATCH)
    out = np.full(int(payloads.sizes.max()) + PAYLOAD_PADDING_BYTES, 255, np.uint8)
    for k, i in enumerate(BATCH):
        padded = cache.payloads("image", [i])
        padded.sizes[0] += PAYLOAD_PADDING_BYTES
        gather(padded, out, np.zeros(1, np.int64))
        assert out[: payloads.sizes[k]].tobytes() == SAMPLES[i]["image"]
    assert payloads.orientations.tolist() == [i % 9 for i in BATCH]
    assert payloads.conditions.tolist() == [0] * len(BATCH)
    assert len(payloads) == len(BATCH)


def test_payloads_outlive_their_cache(tmp_path: Path) -> None:
    """The maps stay as long as somebody holds addresses in them."""
    payloads = build(MemorySource(SAMPLES), tmp_path / "c").payloads("image", BATCH)
    out = np.zeros(int(payloads.sizes.sum()), np.uint8)
    gather(payloads, out, np.cumsum(payloads.sizes) - payloads.sizes)
    assert out.tobytes() == b"".join(SAMPLES[i]["image"] for i in BATCH)


def test_gather_fills_a_buffer_from_several_threads(cache: SampleCache) -> None:
    """Threads with ranges of their own fill one buffer, and gaps stay as they are."""
    ids = np.arange(COUNT)
    payloads = cache.payloads("image", ids)
    offsets = np.cumsum(payloads.sizes + 3) - payloads.sizes
    out = np.full(int((payloads.sizes + 3).sum()), 7, np.uint8)
    threads = [
        threading.Thread(target=gather, args=(payloads, out, offsets, k, k + 10))
        for k in range(0, COUNT, 10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out.tobytes() == b"".join(b"\7\7\7" + sample["image"] for sample in SAMPLES)


def test_gather_checks_its_bounds(cache: SampleCache) -> None:
    """Nothing is copied when anything would lie outside the buffer."""
    payloads = cache.payloads("image", BATCH)
    offsets = np.cumsum(payloads.sizes) - payloads.sizes
    out = np.zeros(int(payloads.sizes.sum()), np.uint8)
    for wrong in (offsets + 1, offsets - 1):
        with pytest.raises(IndexError, match="do not fit"):
            gather(payloads, out, wrong)
    with pytest.raises(IndexError, match="not within 5 images"):
        gather(payloads, out, offsets, 3, 6)
    with pytest.raises(ValueError, match="offsets must be int64"):
        gather(payloads, out, offsets.astype(np.int32))
    with pytest.raises(ValueError, match="contiguous, writable"):
        gather(payloads, out[::2], offsets)
    assert not out.any()
    gather(payloads, out, offsets, 2, 2)
    assert not out.any()


def test_a_pickled_cache_is_its_path(cache: SampleCache) -> None:
    """A pickle is small, and opens again where it is loaded."""
    cache.load_batch(BATCH)
    text = pickle.dumps(cache)
    assert len(text) < 300
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[7]['label'])"
    done = subprocess.run(
        [sys.executable, "-c", script], input=text, capture_output=True, check=True, timeout=120
    )
    assert done.stdout.split() == [b"49"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_open_cache_survives_a_fork(cache: SampleCache) -> None:
    """A forked process reads what its parent opened, and parts that it did not."""
    script = """
        import os, sys
        from slipstream_cache import SampleCache
        cache = SampleCache.open(sys.argv[1])
        first = cache[3]["label"]
        if os.fork() == 0:
            os._exit(0 if (cache[3]["label"], cache[49]["label"]) == (9, 2401) else 1)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        assert cache[49]["label"] == 2401
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(cache.cache_dir)]
    subprocess.run(command, check=True, timeout=120)


@pytest.mark.skipif(os.name == "nt", reason="needs limits and symbolic links")
def test_many_parts_need_few_file_descriptors(tmp_path: Path) -> None:
    """Maps keep no file open: under ``ulimit -n 1024``, 3,000 parts are read and stay mapped."""
    samples = [{"image": make_jpeg(3, i + 1), "label": i, "raw": bytes([i])} for i in range(5)]
    cache = build(MemorySource(samples), tmp_path / "c")
    document = json.loads((cache.cache_dir / "manifest.json").read_text())
    (part,) = document["parts"]
    names = [f"part-{k:05d}" for k in range(3000)]
    document["parts"] = [{**part, "name": n, "first_sample": 5 * k} for k, n in enumerate(names)]
    document["num_samples"] = 5 * len(names)
    (cache.cache_dir / "manifest.json").write_text(json.dumps(document))
    for name in names[1:]:
        (cache.cache_dir / name).symlink_to(cache.cache_dir / names[0])
    script = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        import numpy as np
        from slipstream_cache import SampleCache
        cache = SampleCache.open(sys.argv[1])
        order = np.random.default_rng(0).permutation(len(cache))
        batch = cache.load_batch(order)
        assert (batch["label"] == order % 5).all()
        assert batch["raw"] == [bytes([i % 5]) for i in order]
        assert (batch["image"]["widths"] == order % 5 + 1).all()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(cache.cache_dir)]
    subprocess.run(command, check=True, timeout=120)


def test_many_threads_may_open_parts_at_once(cache: SampleCache) -> None:
    """Threads that meet unmapped parts at the same time all read the right samples."""
    wrong: list[int] = []

    def read(seed: int) -> Any:
        ids = np.random.default_rng(seed).integers(0, COUNT, 40)
        for i, label in zip(ids, cache.load_batch(ids)["label"], strict=True):
            if label != i * i:
                wrong.append(int(i))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_cache_says_what_it_is(cache: SampleCache) -> None:
    """``print(cache)`` shows the place, the size, and the fields with their kinds."""
    lines = repr(cache).splitlines()
    assert str(cache.cache_dir) in lines[0]
    assert "50 samples" in lines[1]
    assert "7 parts" in lines[1]
    assert [line.split() for line in lines[2:]] == [
        ["image", "image"],
        ["label", "dense", "<i8"],
        ["vector", "dense", "<f2", "[3]"],
        ["path", "ragged", "str"],
        ["raw", "ragged", "bytes"],
        ["meta", "ragged", "json"],
    ]
    assert cache.image_fields == ["image"]


@pytest.mark.parametrize(
    "name", ["image.bin", "image.samples.npy", "label.npy", "path.bin", "path.offsets.npy"]
)
def test_missing_and_cut_files_are_named(cache: SampleCache, name: str) -> None:
    """A file that is missing or of another size is an error with both sizes, before it is read."""
    path = cache.cache_dir / "part-00002" / name
    data = path.read_bytes()
    ids = np.arange(16, 24)
    assert cache.load_batch([0])
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptCacheError, match=f"has {len(data) - 1} bytes, expected {len(data)}"):
        cache.load_batch(ids)
    path.unlink()
    with pytest.raises(CorruptCacheError, match=f"{name} is missing.*--repair SOURCE"):
        cache.load_batch(ids)


def test_rows_that_point_outside_are_named(cache: SampleCache) -> None:
    """A damaged row never makes a read outside the file: it is an error with the sample id."""
    directory = cache.cache_dir / "part-00001"
    for name, position in (("image.samples.npy", 2 * 32), ("path.offsets.npy", 3 * 8)):
        path = directory / name
        data = bytearray(path.read_bytes())
        rows = len(data) - (8 * 32 if name.startswith("image") else 9 * 8)
        data[rows + position + 5] ^= 0x40
        path.write_bytes(data)
    with pytest.raises(CorruptCacheError, match=r"sample 10 points outside image\.bin"):
        cache.load_batch(np.arange(16), ["image"])
    with pytest.raises(CorruptCacheError, match=r"sample 10 points outside path\.bin"):
        cache.load_batch(np.arange(16), ["path"])


def test_arrays_of_another_type_are_refused(cache: SampleCache) -> None:
    """An .npy file whose header says something else, or that holds a pickle, is not read."""
    path = cache.cache_dir / "part-00000" / "label.npy"
    size = path.stat().st_size
    for array in (np.zeros(8, "<f8"), np.zeros((8, 1), "<i8"), np.array([object()] * 8)):
        np.save(path, array, allow_pickle=True)
        path.write_bytes(path.read_bytes()[:size].ljust(size, b"\0"))
        with pytest.raises(CorruptCacheError, match=r"label\.npy"):
            cache.load_batch([0], ["label"])


def test_values_that_do_not_decode_are_errors(cache: SampleCache) -> None:
    """Changed bytes in text are an error, not another text."""
    path = cache.cache_dir / "part-00000" / "path.bin"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(CorruptCacheError, match="not valid str"):
        cache.load_batch(np.arange(8), ["path"])


def test_a_cache_that_is_replaced_while_open_is_told(cache: SampleCache) -> None:
    """What is mapped stays readable; a part of the new cache is never taken for one of the old."""
    assert cache.load_batch([0, 1])["label"].tolist() == [0, 1]
    place, aside = cache.cache_dir, cache.cache_dir.with_name("aside")
    place.rename(aside)
    build(MemorySource([{**sample, "label": -1} for sample in SAMPLES], name="new"), place)
    assert cache.load_batch([0, 1])["label"].tolist() == [0, 1]
    with pytest.raises(CorruptCacheError, match="was replaced while it was open"):
        cache.load_batch([49])
    assert SampleCache.open(place)[49]["label"] == -1
    shutil.rmtree(place)
    with pytest.raises(CorruptCacheError, match="missing"):
        cache.load_batch([49])
    shutil.copytree(aside, place)
    assert cache.load_batch([49])["label"].tolist() == [2401]


def rewrite(cache: SampleCache, **changes: Any) -> Any:
    """Change top-level keys of the manifest."""
    path = cache.cache_dir / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_caches_are_told(tmp_path: Path) -> None:
    """No directory, another one and an unfinished build are told apart."""
    with pytest.raises(CacheNotFoundError, match="no such directory"):
        SampleCache.open(tmp_path / "nothing")
    with pytest.raises(CacheNotFoundError, match="something else"):
        SampleCache.open(tmp_path)
    (tmp_path / "build.json").touch()
    with pytest.raises(FileNotFoundError, match="unfinished build"):
        SampleCache.open(tmp_path)


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_unknown_versions_are_refused(cache: SampleCache, version: Any) -> None:
    """A cache of another version is not read, and the error says what to do."""
    rewrite(cache, version=version)
    with pytest.raises(UnsupportedVersionError, match="build the cache again"):
        SampleCache.open(cache.cache_dir)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"version": 1}', "\x00"])
def test_other_manifests_are_refused(cache: SampleCache, text: Any) -> None:
    """What is not our manifest is an error."""
    (cache.cache_dir / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        SampleCache.open(cache.cache_dir)


@pytest.mark.parametrize(
    "change",
    [
        {"num_samples": 51},
        {"num_samples": True},
        {"key": "../x"},
        {"fields": {}},
        {"fields": {"../x": {"kind": "image"}}},
        {"fields": {"label": {"kind": "dense", "dtype": "O", "shape": []}}},
        {"parts": [{"name": "../../etc"}]},
        {"parts": []},
        {"source": None},
        {"options": {"fields": 3}},
    ],
)
def test_manifests_that_contradict_themselves_are_refused(cache: SampleCache, change: Any) -> None:
    """Names and numbers of a manifest are checked before any of them is used."""
    rewrite(cache, **change)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        SampleCache.open(cache.cache_dir)

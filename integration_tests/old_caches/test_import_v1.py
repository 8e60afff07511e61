"""Caches of the original slipstream (format 1): read from their documented layout, built again."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    CacheNotFoundError,
    CorruptCacheError,
    FieldTypeError,
    LegacySource,
    ManifestError,
    SampleCache,
    import_v1,
    verify,
)
from slipstream_loader import SlipstreamDataset
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder

META = np.dtype([("data_ptr", "<u8"), ("data_size", "<u8"), ("height", "<u4"), ("width", "<u4")])


def write_v1(directory: Path, columns: dict[str, tuple[str, list[Any]]]) -> Path:
    """Write a cache of format 1: field name -> (type, values)."""
    directory.mkdir()
    fields: dict[str, dict[str, Any]] = {}
    for name, (kind, values) in columns.items():
        fields[name] = {"type": kind, "num_samples": len(values)}
        path = directory / f"{name}.bin"
        if kind in ("ImageBytes", "bytes"):
            ends = np.cumsum([0, *map(len, values)])
            rows = np.zeros(len(values), META)
            rows["data_ptr"], rows["data_size"] = ends[:-1], np.diff(ends)
            rows["height"] = rows["width"] = 8
            path.write_bytes(b"".join(values))
            np.save(directory / f"{name}.meta.npy", rows)
            fields[name]["max_size"] = int(1.2 * max(map(len, values)))
            if kind == "ImageBytes":
                fields[name]["image_format"] = "jpeg"
        elif kind == "str":
            texts = [value.encode() for value in values]
            ends = np.cumsum([0, *map(len, texts)])
            path.write_bytes(b"".join(texts))
            offsets = np.stack([ends[:-1], np.diff(ends)], axis=1).astype("<u8")
            np.save(directory / f"{name}.offsets.npy", offsets)
        else:
            np.save(
                directory / f"{name}.npy", np.array(values, "<f8" if kind == "float" else "<i8")
            )
    manifest = {
        "version": 1,
        "num_samples": len(next(iter(columns.values()))[1]),
        "fields": fields,
        "file_sizes": {path.name: path.stat().st_size for path in sorted(directory.iterdir())},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture
def columns(tmp_path: Path) -> dict[str, tuple[str, list[Any]]]:
    """Fields of every type, with real images."""
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=3, seed=0)
    images = [path.read_bytes() for path in sorted((tmp_path / "photos").rglob("*.jpg"))]
    count = len(images)
    return {
        "image": ("ImageBytes", images),
        "label": ("int", list(range(count))),
        "score": ("float", [i / 4 for i in range(count)]),
        "path": ("str", [f"ü/{i}" * (i % 3) for i in range(count)]),
        "extra": ("bytes", [bytes([i]) * i for i in range(count)]),
    }


@pytest.fixture
def old(tmp_path: Path, columns: dict[str, Any]) -> Path:
    """An old cache."""
    return write_v1(tmp_path / "slipcache-01234567", columns)


def test_every_value_is_imported(old: Path, columns: dict[str, Any]) -> None:
    """Images and bytes, text, integers and floats, in the order of the manifest."""
    source = import_v1(old)
    assert list(source.field_types) == list(columns)
    assert len(source) == len(columns["label"][1])
    for i in range(len(source)):
        assert dict(source[i]) == {name: values[i] for name, (_, values) in columns.items()}
    assert dict(pickle.loads(pickle.dumps(source))[2]) == dict(source[2])


def test_the_fingerprint_is_of_the_content(old: Path, columns: dict[str, Any]) -> None:
    """It does not depend on the place, and changes with the samples."""
    fingerprint = import_v1(old).fingerprint()
    moved = shutil.copytree(old, old.with_name("elsewhere"))
    assert import_v1(moved).fingerprint() == fingerprint
    columns["label"][1][0] = 77
    other = write_v1(old.with_name("other"), columns)
    assert import_v1(other).fingerprint() != fingerprint


def test_a_data_set_builds_a_new_cache_from_it(old: Path, columns: dict[str, Any]) -> None:
    """``SlipstreamDataset`` takes the old directory, and the new cache is whole."""
    before = sorted(path.name for path in old.iterdir())
    dataset = SlipstreamDataset(old, cache_dir=old.parent / "new", decode_images=True)
    assert dataset[1]["image"].size[0] > 0
    cache = prepare_cache(dataset)
    assert isinstance(cache, SampleCache)
    assert cache.manifest.source.kind == "slipcache-v1"
    assert isinstance(dataset.source, LegacySource)
    assert verify(cache, level="full", source=dataset.source).ok
    for i, sample in enumerate(cache):
        assert sample == {name: values[i] for name, (_, values) in columns.items()}
    assert sorted(path.name for path in old.iterdir()) == before


def test_damaged_old_caches_are_errors(old: Path) -> None:
    """Cut files, rows that point outside, other arrays, other manifests: nothing is guessed."""
    manifest = json.loads((old / "manifest.json").read_text())

    def rewrite(**changes: Any) -> None:
        (old / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    for changes in (
        {"num_samples": 99},
        {"fields": {"x": {}}},
        {"fields": {"../x": {"type": "str"}}},
    ):
        rewrite(**changes)
        with pytest.raises(CorruptCacheError):
            import_v1(old)
    rewrite(fields={"image": {"type": "ImageBytes", "image_format": "yuv420"}})
    with pytest.raises(FieldTypeError, match="YUV"):
        import_v1(old)
    rewrite(format="x")
    with pytest.raises(CacheNotFoundError):
        import_v1(old)
    (old / "manifest.json").write_text("{")
    with pytest.raises(ManifestError):
        import_v1(old)
    rewrite()
    rows = np.load(old / "image.meta.npy")
    rows["data_ptr"][2] = 1 << 63
    np.save(old / "image.meta.npy", rows)
    with pytest.raises(CorruptCacheError, match="sample 2 points outside"):
        import_v1(old)
    np.save(old / "image.meta.npy", np.zeros_like(rows))
    text = bytearray((old / "path.bin").read_bytes())
    text[int(np.load(old / "path.offsets.npy")[1, 0])] = 0xFF
    (old / "path.bin").write_bytes(text)
    with pytest.raises(CorruptCacheError, match=r"path.bin: sample 1 has text that is not UTF-8"):
        import_v1(old)[1]
    (old / "path.bin").write_bytes(b"")
    with pytest.raises(CorruptCacheError, match="bytes"):
        import_v1(old)
    shutil.rmtree(old)
    with pytest.raises(CacheNotFoundError):
        import_v1(old)


def test_pickles_are_never_read(old: Path) -> None:
    """An index of the original is a pickle: it is left alone, and refused as a field."""
    np.save(old / "label_index.npy", np.array({"evil": object}, dtype=object), allow_pickle=True)
    assert len(import_v1(old)) == 6
    np.save(old / "label.npy", np.array([object()] * 6), allow_pickle=True)
    sizes = json.loads((old / "manifest.json").read_text())
    sizes["file_sizes"].pop("label.npy")
    (old / "manifest.json").write_text(json.dumps(sizes))
    with pytest.raises(CorruptCacheError):
        import_v1(old)

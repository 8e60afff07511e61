"""Choosing samples and fields, and building caches from caches."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import (
    FieldNameError,
    FieldNotFoundError,
    FieldSpec,
    SampleCache,
    Source,
    StorageOptions,
    concatenate,
    subset,
)
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, prepare_cache, select
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources import SequenceSource, TarSource
from slipstream_loader.sources.prebuilt import CacheSource


def picture(seed: int, kind: str = "JPEG", **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def samples(count: int = 12) -> list[dict[str, Any]]:
    return [{"image": picture(i), "label": i % 3, "name": f"n{i}"} for i in range(count)]


def cached(source: Any, root: Path, **options: Any) -> SampleCache:
    return prepare_cache(SlipstreamDataset(source, cache_dir=root, **options), verbose=False)


def test_samples_fields_and_names(tmp_path: Path) -> None:
    """A cache of a selection holds the chosen samples and fields under their new names."""
    source = select(samples(), [7, 2, 2], fields=["image", "label"], rename={"label": "class"})
    assert isinstance(source, Source)
    cache = cached(source, tmp_path)
    assert list(cache.fields) == ["image", "class"]
    assert [cache[k]["class"] for k in range(3)] == [1, 2, 2]
    assert [cache[k]["image"] for k in range(3)] == [picture(i) for i in (7, 2, 2)]
    masked = select(samples(), np.arange(12) % 3 == 1)
    assert [masked[k]["name"] for k in range(len(masked))] == ["n1", "n4", "n7", "n10"]
    assert masked.describe(1) == "samples[4]"
    assert pickle.loads(pickle.dumps(masked))[2] == masked[2]


def test_shuffled_on_writing(tmp_path: Path) -> None:
    """Every sample comes once, in an order that its number decides."""
    first, again, other = (select(samples(), shuffle=seed) for seed in (1, 1, 2))
    names = [first[k]["name"] for k in range(12)]
    assert sorted(names) == sorted(sample["name"] for sample in samples())
    assert names != [sample["name"] for sample in samples()]
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    cache = cached(first, tmp_path)
    assert [cache[k]["name"] for k in range(12)] == names


def test_fingerprints_of_selections() -> None:
    """Whatever is chosen otherwise has another fingerprint; equal choices agree."""
    given = samples()
    chosen = [
        select(given),
        select(given, [1, 2]),
        select(given, [2, 1]),
        select(given, fields=["image", "label"]),
        select(given, rename={"label": "name", "name": "label"}),
        select(given, as_files=["image"]),
    ]
    prints = [source.fingerprint() for source in chosen]
    assert len({*prints, SequenceSource(given).fingerprint()}) == 7
    assert select(given, np.array([1, 2], np.int8)).fingerprint() == prints[1]


def test_what_cannot_be_chosen(tmp_path: Path) -> None:
    """Unknown fields, names that clash, ids that are not there: each is named."""
    given = samples()
    with pytest.raises(FieldNotFoundError, match="'x'"):
        select(given, fields=["x"])
    with pytest.raises(FieldNotFoundError, match="'label'"):
        select(given, fields=["image"], rename={"label": "class"})
    with pytest.raises(FieldNameError, match="two fields would have one name"):
        select(given, rename={"label": "name"})
    with pytest.raises(FieldNameError, match="path separator"):
        select(given, rename={"label": "a/b"})
    with pytest.raises(SourceError, match="'label' of memory:list is no image"):
        select(given, as_files=["label"])
    with pytest.raises(IndexError, match="sample 12"):
        select(given, [0, 12])
    with pytest.raises(EmptyDatasetError, match="no samples were chosen"):
        select(given, [])
    with pytest.raises(TypeError, match="list of sample ids"):
        select(given, [0.5])
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        for i in range(3):
            info = tarfile.TarInfo(f"a/{i}.jpg")
            info.size = len(picture(i))
            tar.addfile(info, io.BytesIO(picture(i)))
    archive = TarSource(tmp_path / "a.tgz", cache_root=tmp_path)
    assert select(archive, [0, 2])[1]["image"] == picture(2)
    assert select(archive, [0, 2]).classes == ["a"]
    with pytest.raises(SourceError, match="read forward"):
        select(archive, shuffle=0)


def test_masks_stay_the_files_that_they_are(tmp_path: Path) -> None:
    """An image field that is chosen as files is stored byte for byte."""
    given = [{"image": picture(i), "mask": picture(i, "PNG")} for i in range(4)]
    source = select(given, as_files=["mask"])
    assert source.field_types["mask"] == FieldSpec("ragged", content="bytes")
    cache = cached(source, tmp_path, storage_options=StorageOptions(max_size=16))
    assert [cache[i]["mask"] for i in range(4)] == [sample["mask"] for sample in given]


def test_caches_are_stored_again(tmp_path: Path) -> None:
    """A cache with storage options is the source of another one; without, it is used as it is."""
    base = cached(samples(), tmp_path)
    again = SlipstreamDataset(base, storage_options=StorageOptions(max_size=16), cache_dir=tmp_path)
    small = prepare_cache(again, verbose=False)
    assert small.cache_dir != base.cache_dir
    assert max(small.payloads("image", range(12)).widths) == 16
    assert [small[i]["name"] for i in range(12)] == [base[i]["name"] for i in range(12)]
    whole = cached(CacheSource(base), tmp_path)
    assert [whole[i] for i in range(12)] == [base[i] for i in range(12)]


def test_views_are_sources(tmp_path: Path) -> None:
    """A cache is built from some samples of a cache, or from several caches."""
    base, more = cached(samples(), tmp_path), cached(samples()[:3], tmp_path)
    view = concatenate([subset(base, [5, 1]), more])
    for source in (CacheSource(view), select(view)):
        cache = cached(source, tmp_path)
        assert [cache[i]["name"] for i in range(5)] == ["n5", "n1", "n0", "n1", "n2"]
        assert [cache[i]["image"] for i in range(5)] == [picture(i) for i in (5, 1, 0, 1, 2)]
    keys = [subset(base, ids) for ids in ([5, 1], [1, 5])]
    assert len({CacheSource(view).fingerprint() for view in (base, more, view, *keys)}) == 5


@pytest.mark.parametrize("codec", ["rgb", "yuv420", "jpeg"])
def test_pixels_survive_in_every_codec(tmp_path: Path, codec: Any) -> None:
    """Images that a cache holds as pixels are built from without loss, orientation included."""
    exif = Image.Exif()
    exif[0x0112] = 6
    given = [{"image": picture(0, "PNG", exif=exif)}, {"image": picture(1, exif=exif)}]
    base = cached(given, tmp_path, storage_options=StorageOptions(codec=codec))
    cache = cached(CacheSource(base), tmp_path, storage_options=StorageOptions(codec="rgb"))
    assert cache.payloads("image", [0, 1]).orientations.tolist() == [6, 6]
    pixels = [SlipstreamDataset(one, decode_images=True)[0]["image"] for one in (base, cache)]
    assert pixels[0].tobytes() == pixels[1].tobytes()
    assert cache[1]["image"] == picture(1, exif=exif)


def test_damaged_images_stay_what_they_are(tmp_path: Path) -> None:
    """What could not be read when the first cache was built is kept with its bytes."""
    given = [{"image": picture(0)}, {"image": picture(1)[:300]}, {"image": b"no image"}]
    base = cached(given, tmp_path)
    cache = cached(CacheSource(base), tmp_path)
    assert [cache[i]["image"] for i in range(3)] == [sample["image"] for sample in given]
    assert cache.conditions("image").tolist() == base.conditions("image").tolist()


def test_loaders_take_selections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A selection goes straight into a loader."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path))
    loader = SlipstreamLoader(select(samples(), [3, 4, 5]), 3, shuffle=False, verbose=False)
    assert next(iter(loader))["name"] == ["n3", "n4", "n5"]

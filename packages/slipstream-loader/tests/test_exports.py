"""Exports to WebDataset and to folders, read back by our own readers and by tarfile."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from slipstream_cache import SampleCache, StorageOptions, concatenate, subset
from slipstream_loader import (
    ExportError,
    ImageFolderSource,
    SlipstreamDataset,
    WebDatasetSource,
    export_folder,
    export_webdataset,
    prepare_cache,
)
from slipstream_loader.cli import app
from slipstream_loader.exports import samples as samples_of_exports
from slipstream_loader.exports.whole_file import whole_file

pytestmark = pytest.mark.timeout(120)


def picture(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (12, 15, 3), dtype=np.uint8)


def image(seed: int, form: str = "JPEG") -> bytes:
    """An image file of noise."""
    file = io.BytesIO()
    Image.fromarray(picture(seed)).save(file, form)
    return file.getvalue()


def samples() -> list[dict[str, Any]]:
    return [
        {
            "image": image(n),
            "label": n % 2,
            "key": f"x/ü{n}",
            "caption": f"pictüre {n}",
            "boxes": [[n, None]],
            "half": np.float16(n / 2),
            "grid": np.full((2, 2), n, np.int8),
            "raw": bytes(range(n)),
        }
        for n in range(6)
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SampleCache:
    """A cache with a field of every kind."""
    return prepare_cache(SlipstreamDataset(samples(), cache_dir=tmp_path_factory.mktemp("caches")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of images, one of them PNG files."""
    root = tmp_path_factory.mktemp("photos")
    for n in range(4):
        (root / "ant").mkdir(exist_ok=True)
        (root / "bee").mkdir(exist_ok=True)
        (root / f"ant/{n}.jpeg").write_bytes(image(n))
        (root / f"bee/{n}.png").write_bytes(image(10 + n, "PNG"))
    return root


def test_shards_hold_everything(cache: SampleCache, tmp_path: Path) -> None:
    """Fields of every kind come back from several shards, under their own keys."""
    shards = export_webdataset(cache, tmp_path / "s", shard_bytes=2000, verbose=False)
    assert [path.name for path in shards] == [f"shard-{n:06}.tar" for n in range(len(shards))]
    assert len(shards) > 1
    source = WebDatasetSource(tmp_path / "s" / "*.tar")
    for number, sample in enumerate(samples()):
        found = source[number]
        assert found.keys() == sample.keys()
        for name, value in sample.items():
            assert np.array_equal(found[name], value), name
    assert source.field_types["half"].dtype == "<f2"
    with tarfile.open(shards[0]) as tar:
        names = tar.getnames()
    assert names[:3] == ["x/ü0.jpg", "x/ü0.cls", "x/ü0.caption.txt"]


def test_shards_of_views_and_pixels(tmp_path: Path) -> None:
    """Repeated keys give numbers; images that are no JPEG files are PNG, without loss."""
    rows = [{"image": image(n, "PNG"), "mask": image(9 + n, "PNG"), "key": "k"} for n in range(2)]
    options = StorageOptions(codec="rgb")
    stored = prepare_cache(SlipstreamDataset(rows, cache_dir=tmp_path, storage_options=options))
    view = concatenate([subset(stored, [1]), stored])
    (path,) = export_webdataset(view, tmp_path / "s", verbose=False)
    with tarfile.open(path) as tar:
        assert tar.getnames()[:3] == ["000000000.png", "000000000.mask.png", "000000000.key.txt"]
        members = [member for member in tar if member.name.endswith("0.png")]
        file = tar.extractfile(members[0])
        assert file is not None
        assert (np.asarray(Image.open(file)) == picture(1)).all()
    source = WebDatasetSource(path, extensions=["png", "mask.png"])
    assert (np.asarray(Image.open(io.BytesIO(source[2]["mask"]))) == picture(10)).all()


def test_a_folder_comes_back(folder: Path, tmp_path: Path) -> None:
    """Files keep their names and bytes; labels, classes and order are those of the folder."""
    cache = prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path / "caches"))
    listing = export_folder(cache, tmp_path / "out", verbose=False)
    found, original = ImageFolderSource(tmp_path / "out"), ImageFolderSource(folder)
    assert found.classes == original.classes
    assert (found.labels == original.labels).all()
    assert found[1] == original[1]
    assert found[5]["path"] == "bee/1.png.jpg"  # stored as JPEG by this cache
    again = SlipstreamDataset(listing)
    assert again[5]["label"] == 1
    assert again[5]["image"] == cache[5]["image"]


def test_torchvision_reads_an_exported_folder(folder: Path, tmp_path: Path) -> None:
    """Its ImageFolder finds the classes, labels and files that it found in the first folder."""
    from torchvision.datasets import ImageFolder

    cache = prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path / "caches"))
    export_folder(cache, tmp_path / "out", verbose=False)
    found, original = ImageFolder(str(tmp_path / "out")), ImageFolder(str(folder))
    assert found.class_to_idx == original.class_to_idx
    assert found.targets == original.targets
    assert [Path(path).read_bytes() for path, _ in found.samples] == [
        cache[number]["image"] for number in range(len(cache))
    ]


def test_pixels_become_png(folder: Path, tmp_path: Path) -> None:
    """What the cache holds as pixels is written without loss, under its old name."""
    options = StorageOptions(codec="rgb")
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "c", storage_options=options)
    export_folder(prepare_cache(dataset), tmp_path / "out", verbose=False)
    found = np.asarray(Image.open(tmp_path / "out/bee/2.png"))
    assert (found == picture(12)).all()


@pytest.mark.parametrize(
    "paths",
    [
        ["../a.jpg", "b.jpg"],
        ["/a.jpg", "b.jpg"],
        ["a.jpg", "A.png"],
        ["a", "a/b.jpg"],
        ["c:\\a.jpg", "b.jpg"],
        ["metadata.jsonl", "b.jpg"],
        ["a/./b.jpg", "c.jpg"],
        ["x/a.jpg", "x/b.jpg"],
        ["a\n.jpg", "b.jpg"],
        ["y/a.jpg", "x/b.jpg"],
    ],
)
def test_paths_that_are_not_safe_or_do_not_tell_the_label(tmp_path: Path, paths: list[str]) -> None:
    """Files are then numbered, in folders of their labels."""
    rows = [{"image": image(n), "path": path, "label": n} for n, path in enumerate(paths)]
    cache = prepare_cache(SlipstreamDataset(rows, cache_dir=tmp_path / "caches"))
    export_folder(cache, tmp_path / "out", verbose=False)
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.jpg"))
    assert files == ["0/0.jpg", "1/1.jpg"]
    lines = (tmp_path / "out/metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == paths
    assert not (tmp_path / "a.jpg").exists()


def test_refusals(cache: SampleCache, tmp_path: Path) -> None:
    """Folders that hold something, bytes in JSON, and no image or several are refused."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    for export in (export_folder, export_webdataset):
        with pytest.raises(ExportError, match="not an empty folder"):
            export(cache, tmp_path / "full", fields=["image", "label"])  # type: ignore[operator]
    with pytest.raises(ExportError, match="bytes"):
        export_folder(cache, tmp_path / "out")
    with pytest.raises(ExportError, match="one image field"):
        export_folder(cache, tmp_path / "out", fields=["label"])
    assert not (tmp_path / "out").exists()


def test_fields_that_are_left_out_are_not_read(
    cache: SampleCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage to another field, for one, is no hindrance; samples are read in runs."""
    read: list[tuple[int, tuple[str, ...]]] = []
    load_batch = SampleCache.load_batch

    def watched(self: SampleCache, ids: Any, fields: Any = None) -> dict[str, Any]:
        read.append((len(ids), tuple(self.fields if fields is None else fields)))
        return load_batch(self, ids, fields)

    monkeypatch.setattr(samples_of_exports, "_SAMPLES_AT_ONCE", 4)
    monkeypatch.setattr(SampleCache, "load_batch", watched)
    (shard,) = export_webdataset(cache, tmp_path, fields=["image", "label"], verbose=False)
    assert read == [(4, ("image", "label")), (2, ("image", "label"))]
    with tarfile.open(shard) as archive:
        for n in range(6):
            for ending, data in (("jpg", image(n)), ("cls", str(n % 2).encode())):
                member = archive.extractfile(f"{n:09}.{ending}")
                assert member is not None
                assert member.read() == data


def test_the_command(cache: SampleCache, tmp_path: Path) -> None:
    """``slipstream export`` writes each of them; it is told which."""
    runner, place = CliRunner(), str(cache.cache_dir)
    run = runner.invoke(app, ["export", place, "--webdataset", str(tmp_path / "s")])
    assert run.exit_code == 0, run.output
    assert "6 samples: 1 shard" in run.output
    arguments = ["--folder", str(tmp_path / "f"), "--field", "image", "--field", "label"]
    run = runner.invoke(app, ["export", place, *arguments])
    assert run.exit_code == 0, run.output
    assert len(ImageFolderSource(tmp_path / "f")) == 6
    run = runner.invoke(app, ["export", place, "--folder", "a", "--beton", "b"])
    assert run.exit_code == 2


def test_what_json_does_not_hold(tmp_path: Path) -> None:
    """Times and complex numbers are refused before anything is written."""
    for name, value in (("when", np.datetime64(5, "s")), ("wave", np.complex64(1j))):
        rows = [{"image": image(0), name: value}]
        cache = prepare_cache(SlipstreamDataset(rows, cache_dir=tmp_path))
        with pytest.raises(ExportError, match=name):
            export_folder(cache, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert export_folder(cache, tmp_path / name, fields=["image"]).exists()


def test_no_export_replaces_another(tmp_path: Path) -> None:
    """Two that began at the same time: the first one's file stays."""
    path = tmp_path / "train.beton"
    with ExitStack() as late:
        late.enter_context(whole_file(path)).write(b"second")
        with whole_file(path) as file:
            file.write(b"first")
        with pytest.raises(ExportError, match="exists already"):
            late.close()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"first"

"""Folders of images as a source."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path

import pytest

from slipstream_cache import FieldSpec, Source, SourceReadError, build
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources.file_names import IMAGE_EXTENSIONS
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.transcode import transcode

posix = pytest.mark.skipif(os.name == "nt", reason="needs links, and slashes as separators")


def write(root: Path, *names: str) -> None:
    """Write files whose content is their own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with everything that makes the order of files interesting."""
    root = tmp_path / "data"
    write(
        root,
        "zebra/1.jpg",
        "zebra/10.JPG",
        "zebra/2.JpEg",
        "Ant/b.PNG",
        "Ant/a.webp",
        "Ant/notes.txt",
        "Ant/.jpg",
        "Ant/photo.jpg.bak",
        "bee/a/x.tiff",
        "bee/a/b/x.bmp",
        "bee/a-b/x.pgm",
        "bee/a0/x.ppm",
        "bee/x.tif",
        "été/é.jpeg",
        "README.md",
        "stray.jpg",
    )
    (root / "bee" / "empty").mkdir()
    if os.name == "nt":
        return root
    write(tmp_path, "elsewhere/l.jpg", "elsewhere/deep/m.jpg")
    (root / "bee" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "linked_class").symlink_to(tmp_path / "elsewhere")
    (root / "zebra" / "file_link.png").symlink_to(tmp_path / "elsewhere" / "l.jpg")
    return root


@posix
def test_classes_and_order_are_those_of_torchvision(folder: Path) -> None:
    """Classes, labels, files and their order equal torchvision's ImageFolder."""
    datasets = pytest.importorskip("torchvision.datasets")
    oracle = datasets.ImageFolder(folder)
    source = ImageFolderSource(folder)
    assert source.classes == oracle.classes
    assert source.class_to_idx == oracle.class_to_idx
    found = [
        (str(folder / s["path"]), s["label"]) for s in map(source.__getitem__, range(len(source)))
    ]
    assert found == oracle.samples


def test_extensions_are_those_of_torchvision() -> None:
    """The accepted file extensions equal torchvision's."""
    module = pytest.importorskip("torchvision.datasets.folder")
    assert IMAGE_EXTENSIONS == module.IMG_EXTENSIONS


def test_samples(folder: Path) -> None:
    """A sample has the bytes, the label, its id and its path relative to the root."""
    source = ImageFolderSource(folder)
    index = next(i for i in range(len(source)) if source.describe(i) == "bee/a/b/x.bmp")
    assert source[index] == {
        "image": b"bee/a/b/x.bmp",
        "label": source.class_to_idx["bee"],
        "index": index,
        "path": "bee/a/b/x.bmp",
    }
    assert list(source.field_types) == list(source[index]) == ["image", "label", "index", "path"]
    assert source.field_types["label"] == FieldSpec("dense", dtype="<i8")
    assert isinstance(source, Source)
    assert source.uri == str(folder)


@pytest.mark.parametrize("index", [-1, 10_000])
def test_index_out_of_range(folder: Path, index: int) -> None:
    """A sample id below zero or too large is an IndexError."""
    with pytest.raises(IndexError, match=str(index)):
        ImageFolderSource(folder)[index]


def test_fingerprint_follows_content_not_place_or_time(folder: Path, tmp_path: Path) -> None:
    """A copy elsewhere with other times has the same fingerprint; a new name or size changes it."""
    before = ImageFolderSource(folder).fingerprint()
    moved = tmp_path / "moved" / "data"
    shutil.copytree(folder, moved)
    os.utime(moved / "zebra" / "1.jpg", (1, 1))
    assert ImageFolderSource(moved).fingerprint() == before
    (moved / "zebra" / "1.jpg").write_bytes(b"another size")
    resized = ImageFolderSource(moved).fingerprint()
    (moved / "zebra" / "1.jpg").rename(moved / "zebra" / "3.jpg")
    renamed = ImageFolderSource(moved).fingerprint()
    assert len({before, resized, renamed}) == 3


def test_fingerprint_is_stable(tmp_path: Path) -> None:
    """The fingerprint of a known folder is the same in every version and on every platform."""
    write(tmp_path, "b/1.jpg", "a/2.png")
    fingerprint = ImageFolderSource(tmp_path).fingerprint()
    assert fingerprint == hashlib.sha256(b"imagefolder 1\0a/2.png\x007\0b/1.jpg\x007\0").hexdigest()


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    """Images directly in the root are served in order, without a label."""
    write(tmp_path, "b.jpg", "a.PNG", "notes.txt")
    source = ImageFolderSource(tmp_path)
    assert [source[i] for i in range(len(source))] == [
        {"image": b"a.PNG", "index": 0, "path": "a.PNG"},
        {"image": b"b.jpg", "index": 1, "path": "b.jpg"},
    ]
    assert list(source.field_types) == ["image", "index", "path"]
    assert source.classes == []


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Odd bytes in names are read as they are and written as escapes in path and classes."""
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this file system takes only valid UTF-8 names")
    with open(os.path.join(odd, b"\xff.jpg"), "wb") as file:
        file.write(b"content")
    source = ImageFolderSource(tmp_path)
    assert source.classes == [r"caf\xe9"]
    assert source[0]["path"] == r"caf\xe9/\xff.jpg"
    assert source[0]["image"] == b"content"
    assert len(source.fingerprint()) == 64


def test_pickled_source_reads_the_same(folder: Path) -> None:
    """A source survives pickling, as spawned workers need."""
    source = ImageFolderSource(folder)
    copy = pickle.loads(pickle.dumps(source))
    assert copy[3] == source[3]
    assert copy.fingerprint() == source.fingerprint()


def test_relative_root_survives_a_change_of_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is resolved once, when the source is made."""
    monkeypatch.chdir(folder.parent)
    source = ImageFolderSource("data")
    monkeypatch.chdir("/")
    assert source[0]["image"]


def test_empty_folder(tmp_path: Path) -> None:
    """A folder without any image is an EmptyDatasetError that names it."""
    with pytest.raises(EmptyDatasetError, match=r"no images in .*\.jpeg"):
        ImageFolderSource(tmp_path)
    (tmp_path / "class").mkdir()
    with pytest.raises(EmptyDatasetError, match=str(tmp_path)):
        ImageFolderSource(tmp_path)


def test_classes_without_images_are_named_together(tmp_path: Path) -> None:
    """All class folders without images are named in one error."""
    write(tmp_path, "good/a.jpg", "bad_1/a.txt", "loose.jpg")
    (tmp_path / "bad_2").mkdir()
    with pytest.raises(SourceError, match=r"bad_1\n  bad_2") as caught:
        ImageFolderSource(tmp_path)
    assert "good" not in str(caught.value)
    assert "1 images lie directly" in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "file.jpg"])
def test_root_that_is_no_directory(tmp_path: Path, name: str) -> None:
    """A root that is missing or a file is a SourceError, also a ValueError."""
    write(tmp_path, "file.jpg")
    with pytest.raises(ValueError, match=f"{name} (does not exist|is not a directory)"):
        ImageFolderSource(tmp_path / name)


@posix
def test_broken_and_circular_links_are_reported_together(folder: Path) -> None:
    """Broken links, links to a parent and odd files are all named in one error."""
    (folder / "bee" / "gone.jpg").symlink_to("nowhere")
    (folder / "bee" / "a" / "up").symlink_to(folder / "bee")
    (folder / "bee" / "loop").symlink_to("loop")
    os.mkfifo(folder / "Ant" / "pipe.jpg")
    with pytest.raises(SourceError) as caught:
        ImageFolderSource(folder)
    message = str(caught.value)
    for problem in (
        "Ant/pipe.jpg: not a regular file",
        "bee/a/up: link to a folder that it is in",
        "bee/gone.jpg: No such file",
        "bee/loop: Too many levels",
    ):
        assert problem in message


def test_unreadable_folders_are_reported_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that cannot be listed are errors, never left out."""
    listed = os.scandir

    def refuse(path: str) -> os._ScandirIterator[str]:
        if os.path.basename(path) in ("a0", "zebra"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"bee/a0: Permission denied\n  zebra: Permission"):
        ImageFolderSource(folder)


def test_build_reports_unreadable_files_together(folder: Path, tmp_path: Path) -> None:
    """A build over files that vanished or changed names all of them and publishes nothing."""
    source = ImageFolderSource(folder)
    (folder / "zebra" / "1.jpg").unlink()
    (folder / "bee" / "x.tif").write_bytes(b"other")
    with pytest.raises(SourceReadError) as caught:
        build(source, tmp_path / "cache", transcode=transcode)
    names = [source.describe(i) for i in caught.value.sample_ids]
    assert names == ["bee/x.tif", "zebra/1.jpg"]
    assert all(name in str(caught.value) for name in names)
    assert not (tmp_path / "cache" / "manifest.json").exists()


def test_long_reports_are_cut(tmp_path: Path) -> None:
    """Many problems are counted, not all listed."""
    write(tmp_path, "good/a.jpg")
    for i in range(25):
        (tmp_path / f"empty_{i:02}").mkdir()
    with pytest.raises(SourceError, match="and 15 more"):
        ImageFolderSource(tmp_path)


def test_file_that_changed_since_the_scan(folder: Path) -> None:
    """A file whose size is not that of the fingerprint any more is an error."""
    source = ImageFolderSource(folder)
    (folder / "zebra" / "1.jpg").write_bytes(b"other")
    index = next(i for i in range(len(source)) if source.describe(i) == "zebra/1.jpg")
    with pytest.raises(SampleReadError, match=r"zebra/1\.jpg .* has changed"):
        source[index]

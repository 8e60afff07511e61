"""Archives of class folders as sources."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import Source, StorageOptions, build, cache_key
from slipstream_decoders import DecodeResizeCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources import (
    ImageFolderSource,
    TarSource,
    block_reader,
    forward_file,
    open_source,
    tar_members,
)
from slipstream_loader.sources import tar as tar_module
from slipstream_loader.sources.block_reader import Block, BlockReader
from slipstream_loader.sources.stored_file import LocalFile
from slipstream_loader.sources.tar_members import MemberReader

Write = Callable[..., Path]


def jpeg(seed: int, height: int = 40, width: int = 48) -> bytes:
    """A JPEG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and listings lie in a folder of the test."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with 4 images each, some of them in folders below, and other files."""
    root = tmp_path / "photos"
    names = ["bee/1.jpg", "bee/2.JPG", "bee/deep/er/3.jpeg", "bee/deep/4.jpg"]
    names += [f"ant/{i}.jpg" for i in range(4)] + [f"ça va/ü {i}.jpg" for i in range(4)]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(seed))
    (root / "bee/notes.txt").write_text("no image")
    (root / "README").write_text("no image")
    return root


def members(archive: Path, *entries: tuple[str, Any], **options: Any) -> Path:
    """Write an archive of (name, bytes | TarInfo | None for a folder)."""
    with tarfile.open(archive, "w", **options) as tar:
        for name, content in entries:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if content is None:
                info.type = tarfile.DIRTYPE
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".xz", "w:xz")],
)
def test_archives_give_what_the_folder_gives(
    folder: Path, tmp_path: Path, suffix: str, mode: Any
) -> None:
    """Bytes, labels, paths and pixels of every sample are those of the unpacked folder."""
    archive = tmp_path / f"photos{suffix}"
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, "train")
    source = open_source(archive)
    assert isinstance(source, TarSource)
    assert isinstance(source, Source)
    expected = ImageFolderSource(folder)
    assert (source.classes, source.class_to_idx) == (expected.classes, expected.class_to_idx)
    assert source.field_types == expected.field_types
    by_path = {sample["path"]: sample for sample in map(expected.__getitem__, range(len(expected)))}
    dataset = SlipstreamDataset(archive)
    loader = SlipstreamLoader(dataset, batch_size=5, shuffle=False, verbose=False)
    found = [loader.cache[i] for i in range(len(source))]
    assert [sample["index"] for sample in found] == list(range(12))
    assert {sample["path"] for sample in found} == set(by_path)
    for sample in found:
        assert sample["image"] == by_path[sample["path"]]["image"]
        assert sample["label"] == by_path[sample["path"]]["label"]
    pipeline = {"image": [DecodeResizeCrop(32, 32)]}
    ours = next(iter(SlipstreamLoader(dataset, 12, pipelines=pipeline, shuffle=False)))
    theirs = next(iter(SlipstreamLoader(folder, 12, pipelines=pipeline, shuffle=False)))
    order = [ours["path"].index(path) for path in theirs["path"]]
    assert (ours["image"][order] == theirs["image"]).all()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names_in_every_format(tmp_path: Path, form: int) -> None:
    """Long, non-ASCII and non-UTF-8 names are read as tarfile writes them."""
    names = [
        "a/" + "x" * 90 + ".jpg",
        "d" * 90 + "/" + "y" * 60 + ".jpg",
        "a/ünï.jpg",
        "a/\udcff.jpg",
    ]
    if form != tarfile.USTAR_FORMAT:
        names.append("a/" + "long" * 100 + "/" + "z" * 200 + ".jpg")
    archive = members(tmp_path / "a.tar", *((name, jpeg(0)) for name in names), format=form)
    source = TarSource(archive)
    paths = {os.fsencode(name).decode(errors="backslashreplace") for name in names}
    assert {source[i]["path"] for i in range(len(source))} == paths


def test_the_listing_agrees_with_tarfile(tmp_path: Path) -> None:
    """Names, places and sizes of members are those that Python's own module finds."""
    random = np.random.default_rng(5)
    entries = [
        (f"c{i % 3}/{'n' * int(random.integers(1, 140))}{i}.jpg", random.bytes(int(size)))
        for i, size in enumerate(random.integers(0, 3000, 60))
    ]
    archive = members(tmp_path / "a.tar", *entries)
    source = TarSource(archive)
    with tarfile.open(archive) as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    listing = source._listing
    starts, sizes = listing.starts.tolist(), listing.sizes.tolist()
    assert list(zip(listing.names, starts, sizes, strict=True)) == expected


def test_images_at_the_top_have_no_labels(tmp_path: Path) -> None:
    """An archive without class folders has no label; a wrapping folder does not change that."""
    flat = TarSource(members(tmp_path / "a.tar", ("./1.jpg", jpeg(1)), ("./2.jpg", jpeg(2))))
    assert flat.classes == []
    assert flat[1].keys() == {"image", "index", "path"}
    one_class = TarSource(members(tmp_path / "b.tar", ("train/cat/1.jpg", jpeg(1))))
    assert (one_class.classes, one_class[0]["path"]) == (["cat"], "cat/1.jpg")
    beside = members(tmp_path / "c.tar", ("1.jpg", jpeg(1)), ("cat/2.jpg", jpeg(2)))
    assert [TarSource(beside)[0]["path"], len(TarSource(beside))] == ["cat/2.jpg", 1]


def test_the_last_member_of_a_name_counts(tmp_path: Path) -> None:
    """An archive to which a file was added again serves the newer one only."""
    archive = members(
        tmp_path / "a.tar", ("a/1.jpg", jpeg(1)), ("a/2.jpg", jpeg(2)), ("./a/1.jpg", jpeg(3))
    )
    source = TarSource(archive)
    assert [source[i]["path"] for i in range(2)] == ["a/2.jpg", "a/1.jpg"]
    assert source[1]["image"] == jpeg(3)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_hard_links_are_the_files_that_they_name(tmp_path: Path, mode: Any) -> None:
    """A second name of a file gives its bytes again."""
    (tmp_path / "t/a").mkdir(parents=True)
    (tmp_path / "t/a/1.jpg").write_bytes(jpeg(1))
    os.link(tmp_path / "t/a/1.jpg", tmp_path / "t/a/2.jpg")
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        tar.add(tmp_path / "t", ".")
    source = TarSource(tmp_path / "a.tar")
    assert [source[i]["path"] for i in range(2)] == ["a/1.jpg", "a/2.jpg"]
    assert source[0]["image"] == source[1]["image"] == jpeg(1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("/etc/1.jpg", b"x", "/etc/1.jpg is an absolute path"),
        ("a/../../1.jpg", b"x", "leads out of the archive"),
        ("../1.jpg", None, "leads out of the archive"),
        ("a/2.jpg", link(tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
        ("a/2.jpg", link(tarfile.LNKTYPE, "/etc/passwd"), "is a link to '/etc/passwd'"),
        ("a/2.jpg", link(tarfile.LNKTYPE, "a/3.jpg"), "no image before it"),
        ("a/2.jpg", link(tarfile.CHRTYPE, ""), "is a device"),
        ("a/2.jpg", link(tarfile.FIFOTYPE, ""), "is a pipe"),
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    """Names that lead elsewhere, links and devices are errors that name the member."""
    archive = members(tmp_path / "a.tar", ("a/1.jpg", jpeg(1)), (name, content))
    with pytest.raises(SourceError, match=message):
        TarSource(archive)


def test_a_member_that_is_too_large_is_refused_without_being_read(tmp_path: Path) -> None:
    """A bomb: a header that announces 60 GB, in an archive of a few kilobytes."""
    info = tarfile.TarInfo("a/1.jpg")
    info.size = 60 << 30
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate((60 << 30) + 2048)
    with pytest.raises(SourceError, match=r"a/1.jpg has 64,424,509,440 bytes; at most"):
        list(_listing(path))


def _listing(path: Path) -> Any:
    """List without hashing 60 GB of nothing."""
    from slipstream_loader.sources.forward_file import PlainReader
    from slipstream_loader.sources.stored_file import LocalFile
    from slipstream_loader.sources.tar_headers import iter_members
    from slipstream_loader.sources.tar_listing import list_images

    return list_images(iter_members(PlainReader(LocalFile(path)), "a.tar"), "a.tar").names


def test_a_huge_extended_header_is_refused(tmp_path: Path) -> None:
    """A pax header of a gigabyte is not read into memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    with pytest.raises(SourceError, match="an extended header of 1073741824 bytes"):
        TarSource(tmp_path / "a.tar")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_truncation_is_noticed(folder: Path, tmp_path: Path, mode: Any) -> None:
    """An archive that is cut off anywhere is an error, also between two members."""
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, ".")
    data = archive.read_bytes()
    end = len(data.rstrip(b"\0")) if mode == "w" else len(data)
    cuts = {end * k // 13 for k in range(13)} | {end - 1, 512, 1024}
    if mode == "w":
        with tarfile.open(archive) as tar:
            cuts |= {info.offset for info in tar}
    for cut in sorted(cuts):
        archive.write_bytes(data[:cut])
        with pytest.raises(SourceError, match=r"cut off|damaged|empty|not a tar"):
            TarSource(archive)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_flipped_bits_never_give_other_bytes_in_silence(
    folder: Path, tmp_path: Path, mode: Any
) -> None:
    """A damaged header or compressed stream is an error; damage inside an image stays there."""
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, ".")
    sound = TarSource(archive)
    expected = {sound[i]["path"]: sound[i]["image"] for i in range(len(sound))}
    data = archive.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data.rstrip(b"\0")), 25).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(random.integers(8))
        archive.write_bytes(damaged)
        try:
            source = TarSource(archive)
            found = {source[i]["path"]: source[i]["image"] for i in range(len(source))}
        except (SourceError, OSError):
            continue
        different = [path for path in expected if found.get(path) != expected[path]]
        assert len(different) <= 1
        if mode != "w":
            assert not different


def test_what_is_no_archive(tmp_path: Path) -> None:
    """Other files, and archives without images or samples, are named."""
    path = tmp_path / "a.tar"
    path.write_bytes(b"not a tar" * 200)
    with pytest.raises(SourceError, match=r"a.tar, header at byte 0: (not a tar|.*not a number)"):
        TarSource(path)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        TarSource(path)
    with pytest.raises(EmptyDatasetError, match=r"no images in .*a.tar"):
        TarSource(members(path, ("a/1.txt", b"x")))
    with pytest.raises(SourceError, match=r"class folders without images.*\n.*empty"):
        TarSource(members(path, ("empty", None), ("a/1.jpg", jpeg(0))))
    with pytest.raises(SourceError, match=r"nowhere.tar cannot be opened"):
        TarSource(tmp_path / "nowhere.tar")


def test_fingerprint_follows_the_content(folder: Path, tmp_path: Path) -> None:
    """Another name or time of the file changes nothing; another byte does."""
    archive = members(tmp_path / "a.tar", ("a/1.jpg", jpeg(1)))
    copy = tmp_path / "elsewhere.tar"
    copy.write_bytes(archive.read_bytes())
    os.utime(copy, (1, 1))
    assert TarSource(archive).fingerprint() == TarSource(copy).fingerprint()
    other = members(tmp_path / "b.tar", ("a/1.jpg", jpeg(2)))
    assert TarSource(other).fingerprint() != TarSource(archive).fingerprint()


def test_the_listing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second opening lists nothing; a kept listing that is damaged is made again."""
    archive = members(tmp_path / "a.tar.gz", ("a/1.jpg", jpeg(1)), ("b/2.jpg", jpeg(2)))
    first = TarSource(archive)
    with monkeypatch.context() as patch:
        patch.setattr(tar_module, "list_images", None)
        again = TarSource(archive)
        assert again[1] == first[1]
        assert again.classes == ["a", "b"]
    (kept,) = (tmp_path / "caches/listings").iterdir()
    (kept / "sizes.npy").unlink()
    (kept / "sizes.npy").write_bytes(b"")
    assert TarSource(archive)[1] == first[1]


def test_a_source_goes_to_other_processes(tmp_path: Path) -> None:
    """A pickled source reads the same, as executors need."""
    source = TarSource(members(tmp_path / "a.tar", ("a/1.jpg", jpeg(1)), ("b/2.jpg", jpeg(2))))
    assert source[0]["image"] == jpeg(1)
    copy = pickle.loads(pickle.dumps(source))
    assert copy[1] == source[1]
    assert copy.fingerprint() == source.fingerprint()


def test_compressed_archives_in_any_order_and_from_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks, restarts and steps back give the right bytes to threads that go their own ways."""
    monkeypatch.setattr(tar_members, "_BLOCK_BYTES", 8 << 10)
    monkeypatch.setattr("slipstream_loader.sources.block_reader._KEPT_BYTES", 20 << 10)
    monkeypatch.setattr("slipstream_loader.sources.forward_file._RESTART_BYTES", 16 << 10)
    random = np.random.default_rng(1)
    contents = [random.bytes(int(size)) for size in random.integers(0, 4000, 120)]
    entries = [(f"a/{i:03}.jpg", content) for i, content in enumerate(contents)]
    members(tmp_path / "a.tar", *entries)
    for mode, name in (("w:gz", "b.tgz"), ("w:xz", "c.txz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            for member, content in entries:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        source = TarSource(tmp_path / name)
        ids = random.integers(0, 120, 200).tolist()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i, of=source: of[i]["image"], ids))
        assert found == [contents[i] for i in ids]


def test_concatenated_gzip_streams_and_padding(tmp_path: Path) -> None:
    """Several gzip streams one after another, with zeros behind, count as one file."""
    import gzip

    plain = members(tmp_path / "a.tar", ("a/1.jpg", jpeg(1)), ("a/2.jpg", jpeg(2))).read_bytes()
    path = tmp_path / "b.tgz"
    path.write_bytes(gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(100))
    assert TarSource(path)[1]["image"] == jpeg(2)


def test_a_build_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption only the missing parts of a compressed archive are written."""
    from slipstream_cache import layout

    monkeypatch.setattr(layout, "MIN_PART_BYTES", 8 << 10)
    archive = tmp_path / "a.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for i in range(40):
            info, data = tarfile.TarInfo(f"c{i % 4}/{i}.jpg"), jpeg(i)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source = TarSource(archive)
    cache_dir = tmp_path / f"slipcache-{cache_key(source.fingerprint(), StorageOptions())}"

    def stop(done: int, total: int) -> None:
        if done > 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, cache_dir, progress=stop, num_workers=2)
    sealed = {path.name: path.stat().st_mtime_ns for path in cache_dir.glob("part-?????")}
    assert sealed
    cache = build(TarSource(archive), cache_dir, num_workers=2)
    assert {
        p.name: p.stat().st_mtime_ns for p in cache_dir.glob("part-?????")
    }.items() >= sealed.items()
    assert [cache[i]["image"] for i in range(40)] == [jpeg(i) for i in range(40)]


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "bzip2": partial(bz2.compress, compresslevel=1),
    "gzip": gzip.compress,
}


@pytest.mark.parametrize("kind", list(_COMPRESS))
def test_decompression_reads_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """Compressed data is not collected in memory long before its turn."""
    monkeypatch.setattr(forward_file, "_STEP_BYTES", 1000)
    compress = _COMPRESS[kind]
    random = np.random.default_rng(0)
    data = b"".join(random.bytes(50) + bytes(450) for _ in range(4000))
    packed = compress(data)
    (tmp_path / "a").write_bytes(packed)
    reader = forward_file.DecompressedReader(LocalFile(tmp_path / "a"), kind)
    found = reader.read(len(data) // 4)
    assert found == data[: len(found)]
    assert reader._input.position < 0.6 * len(packed)
    assert reader.read(len(data)) == data[len(found) :]


def test_the_next_block_is_read_ahead() -> None:
    """Who goes forward finds the next block; who jumps about causes no reading in vain."""
    opened: list[int] = []
    begun = [threading.Event() for _ in range(10)]

    def open_stream(block: int) -> Iterator[Block[int]]:
        opened.append(block)
        begun[block].set()
        yield Block(block, [block], 10)

    reader = BlockReader(np.arange(11), np.arange(10), open_stream, ahead=2)
    assert reader[0] == 0
    assert begun[1].wait(20)
    assert begun[2].wait(20)
    assert [reader[i] for i in (6, 8)] == [6, 8]
    assert sorted(opened) == [0, 1, 2, 6, 8]
    assert [reader[i] for i in range(10)] == list(range(10))


def test_blocks_that_were_served_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads forward keeps little; blocks that are still wanted stay until the limit."""
    monkeypatch.setattr(block_reader, "_KEPT_BYTES", 100)
    monkeypatch.setattr(block_reader, "_SERVED_BYTES", 20)
    opened: list[int] = []

    def open_stream(block: int) -> Iterator[Block[int]]:
        opened.append(block)
        for number in range(block, 20):
            yield Block(number, [2 * number, 2 * number + 1], 10)

    def reader() -> BlockReader[int]:
        return BlockReader(np.arange(0, 41, 2), np.zeros(1, np.int64), open_stream, ahead=0)

    forward = reader()
    assert [forward[i] for i in range(40)] == list(range(40))
    assert (opened, len(forward._kept)) == ([0], 2)
    halves = reader()
    assert [halves[i] for i in [*range(0, 20, 2), *range(1, 20, 2)]]
    assert (opened, len(halves._kept)) == ([0, 0], 2)


def test_large_blocks_are_neither_read_ahead_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes much memory comes when it is asked for, and goes when it was served."""
    monkeypatch.setattr(block_reader, "_AHEAD_BYTES", 20)
    monkeypatch.setattr(block_reader, "_SERVED_BYTES", 20)
    sizes = np.array([10, 10, 10, 30, 10])
    opened: list[int] = []
    begun = [threading.Event() for _ in sizes]

    def open_stream(block: int) -> Iterator[Block[int]]:
        opened.append(block)
        begun[block].set()
        yield Block(block, [block], int(sizes[block]))

    reader = BlockReader(np.arange(6), np.arange(5), open_stream, ahead=3, num_bytes=sizes)
    assert reader[0] == 0
    assert begun[1].wait(20)
    assert begun[2].wait(20)
    assert [reader[1], reader[2]] == [1, 2]
    assert sorted(opened) == [0, 1, 2]
    assert reader[3] == 3
    assert 3 not in reader._kept
    assert reader[4] == 4


def test_hard_links_of_a_remote_archive_share_bytes() -> None:
    """However many name one member, its bytes are held once."""

    class Counting:
        is_remote = True

        def read(self, start: int, stop: int) -> bytes:
            return bytes(range(start, stop))

    starts, sizes = np.array([2, 2, 2, 6]), np.array([3, 3, 3, 4])
    members = MemberReader(cast(Any, Counting()), "none", starts, sizes)
    found = [members[number] for number in range(4)]
    assert found == [bytes([2, 3, 4])] * 3 + [bytes([6, 7, 8, 9])]
    assert found[0] is found[1] is found[2]

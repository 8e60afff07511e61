"""Shards of WebDataset as sources: names, fields, and what becomes of damaged and hostile ones."""

from __future__ import annotations

import gc
import io
import pickle
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import SourceReadError
from slipstream_loader import SlipstreamDataset, TarSource, WebDatasetSource, prepare_cache
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources import open_source, tar_members
from slipstream_loader.sources.shard_names import expand
from slipstream_loader.sources.webdataset_samples import Component, decode_member

pytestmark = pytest.mark.timeout(120)


def image(seed: int, form: str = "JPEG") -> bytes:
    """An image file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def shard(path: Path, members: list[tuple[str, bytes]], mode: Any = "w") -> Path:
    """Write an archive."""
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pairs(begin: int, end: int) -> list[tuple[str, bytes]]:
    """Images with labels."""
    return [
        member
        for n in range(begin, end)
        for member in ((f"{n:04}.jpg", image(n)), (f"{n:04}.cls", b"%d" % (n % 3)))
    ]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and listings lie in a folder of the test."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))


def test_names_of_shards(tmp_path: Path) -> None:
    """Brace lists keep zeros, ``::`` joins, ``*`` finds sorted files; absurd lists are refused."""
    assert expand("a{08..11}.tar") == ["a08.tar", "a09.tar", "a10.tar", "a11.tar"]
    assert expand("{a,b}{1..0}::c") == ["a1", "a0", "b1", "b0", "c"]
    assert expand("s3://b/{9..10}.tar") == ["s3://b/9.tar", "s3://b/10.tar"]
    for name in ("2.tar", "1.tar"):
        (tmp_path / name).touch()
    assert expand(str(tmp_path / "*.tar")) == [str(tmp_path / "1.tar"), str(tmp_path / "2.tar")]
    with pytest.raises(SourceError, match="no file"):
        expand(str(tmp_path / "*.gz"))
    odd = tmp_path / "set[1]{a,b}?"
    odd.mkdir()
    (odd / "x.tar").touch()
    assert expand(str(odd / "x.tar")) == [str(odd / "x.tar")]
    (tmp_path / "set[1]").mkdir()
    (tmp_path / "set[1]" / "x.tar").touch()
    assert expand(str(tmp_path / "set[1]" / "*.tar")) == [str(tmp_path / "set[1]" / "x.tar")]
    assert len(expand("::".join(["shard.tar"] * 1000))) == 1000
    for absurd in ("{0..99999999}", "{0..999}" * 5):
        with pytest.raises(SourceError, match="more than"):
            expand(absurd)


def test_one_shard_is_told_from_an_archive_of_class_folders(tmp_path: Path) -> None:
    """Files that share a name make samples; class folders with notes beside images do not."""
    one = shard(tmp_path / "a.tar", pairs(0, 3))
    assert isinstance(open_source(one), WebDatasetSource)
    assert isinstance(open_source(shard(tmp_path / "b.tgz", pairs(0, 3), "w:gz")), WebDatasetSource)
    notes = [("cat/1.jpg", image(1)), ("cat/1.json", b"{}"), ("dog/2.jpg", image(2))]
    assert isinstance(open_source(shard(tmp_path / "c.tar", notes)), TarSource)
    labelled = [("x/1.jpg", image(1)), ("x/1.cls", b"0")]
    assert isinstance(open_source(shard(tmp_path / "d.tar", labelled)), WebDatasetSource)


def test_a_folder_of_shards_may_have_any_name(tmp_path: Path) -> None:
    """Brackets, braces and stars in it stand for themselves."""
    for name in ("set[1]", "a{1..2}", "b*", "c::d"):
        (tmp_path / name).mkdir()
        for number in (1, 0):
            shard(tmp_path / name / f"{number}.tar", pairs(2 * number, 2 * number + 2))
        source = open_source(tmp_path / name)
        assert isinstance(source, WebDatasetSource)
        assert [source[n]["key"] for n in range(4)] == ["0000", "0001", "0002", "0003"]


def test_pickles_order_and_fingerprint(tmp_path: Path) -> None:
    """A pickled source reads on; the fingerprint is that of contents, in their order."""
    for name, numbers in (("0", (0, 4)), ("1", (4, 6))):
        shard(tmp_path / f"{name}.tar", pairs(*numbers))
    source = WebDatasetSource(f"{tmp_path}/{{0..1}}.tar")
    again = pickle.loads(pickle.dumps(source))
    for n in (5, 0, 3, 4):
        expected = {"image": image(n), "label": n % 3, "key": f"{n:04}"}
        assert source[n] == again[n] == expected
    assert source.describe(5) == "1.tar 0005"
    (tmp_path / "copy").mkdir()
    for name in "01":
        (tmp_path / "copy" / f"{name}.tar").write_bytes((tmp_path / f"{name}.tar").read_bytes())
    copied = WebDatasetSource(tmp_path / "copy" / "*.tar")
    assert copied.fingerprint() == source.fingerprint()
    turned = WebDatasetSource(f"{tmp_path}/{{1..0}}.tar")
    assert turned.fingerprint() != source.fingerprint()
    with pytest.raises(IndexError):
        source[6]


def test_images_of_several_formats_and_several_images(tmp_path: Path) -> None:
    """The only image of a sample is ``image``; of several each has its own field."""
    mixed = [("a.JPG", image(1)), ("a.cls", b"1"), ("b.png", image(2, "PNG")), ("b.cls", b"2")]
    source = WebDatasetSource(shard(tmp_path / "a.tar", mixed))
    assert [source[n]["image"] for n in range(2)] == [image(1), image(2, "PNG")]
    both = [("a.jpg", image(1)), ("a.png", image(2, "PNG")), ("a.left.jpg", image(3))]
    source = WebDatasetSource(shard(tmp_path / "b.tar", both))
    assert list(source.field_types) == ["jpg", "png", "left", "key"]


def test_labels_that_are_text_and_members_of_no_sample(tmp_path: Path) -> None:
    """Text labels are text; hidden files, links and meta members belong to no sample."""
    members = [
        (".hidden", b"x"),
        ("__meta__/a.json", b"{}"),
        ("readme", b"x"),
        ("a.jpg", image(1)),
        ("a.cls", b"cat"),
    ]
    path = shard(tmp_path / "a.tar", members)
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("b.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    source = WebDatasetSource(path)
    assert len(source) == 1
    assert source[0] == {"image": image(1), "label": "cat", "key": "a"}


def test_members_that_only_some_samples_have(tmp_path: Path) -> None:
    """It is said which sample lacks what; the member can be left out."""
    members = [*pairs(0, 2), ("0002.jpg", image(2)), ("0002.txt", b"x")]
    path = shard(tmp_path / "a.tar", members)
    with pytest.raises(SourceError, match=r"'0002' has no member \.cls.*extensions="):
        WebDatasetSource(path)
    assert len(WebDatasetSource(path, extensions=["jpg"])) == 3
    with pytest.raises(SourceError, match=r"no members \.png"):
        WebDatasetSource(path, extensions=["png"])


@pytest.mark.parametrize(
    ("name", "good", "bad", "message"),
    [
        ("cls", b"1", b"x", "invalid literal"),
        ("cls", b"1", b"9" * 5000, "member .cls"),
        ("cls", b"1", b"9" * 30, "64 bits"),
        ("json", b"{}", b"[" * 100_000, "recursion"),
        ("json", b"{}", b"{", "member .json"),
        ("txt", b"a", b"\xff\xfe", "utf-8"),
        ("npy", npy(np.zeros(2)), npy(np.zeros(2))[:-1], "15 bytes"),
        ("npy", npy(np.zeros(2)), b"\x93NUMPY\x01\x00", "member .npy"),
        ("npy", npy(np.zeros(2)), npy(np.array([{}])), "pickle"),
        (
            "npy",
            npy(np.zeros(2)),
            npy(np.zeros(2)).replace(b"(2,), }" + b" " * 13, b"(1099511627776,), }" + b" "),
            "bytes for an array",
        ),
    ],
)
def test_damaged_members_are_named(
    tmp_path: Path, name: str, good: bytes, bad: bytes, message: str
) -> None:
    """One damaged member is an error of its sample; others are served."""
    members = [("a.jpg", image(0)), (f"a.{name}", good), ("b.jpg", image(1)), (f"b.{name}", bad)]
    source = WebDatasetSource(shard(tmp_path / "s.tar", members))
    source[0]
    with pytest.raises(SampleReadError, match=rf"s\.tar b: .*{message}"):
        source[1]
    with pytest.raises(SourceReadError) as caught:
        prepare_cache(SlipstreamDataset(source))
    assert caught.value.sample_ids == [1]


def test_shards_that_are_damaged(tmp_path: Path) -> None:
    """Cut off, empty, no archive, twice the same member, without samples, missing."""
    whole = shard(tmp_path / "a.tar", pairs(0, 3)).read_bytes()
    for number, data in enumerate((whole[:3000], b"", b"no archive" * 100)):
        path = tmp_path / f"bad-{number}.tar"
        path.write_bytes(data)
        with pytest.raises(SourceError, match=f"bad-{number}"):
            WebDatasetSource([tmp_path / "a.tar", path])
    twice = shard(tmp_path / "twice.tar", [("a.jpg", image(0)), ("a.jpg", image(1))])
    with pytest.raises(SourceError, match="two members"):
        WebDatasetSource(twice)
    with pytest.raises(EmptyDatasetError):
        WebDatasetSource(shard(tmp_path / "none.tar", [("x", b"")]))
    with pytest.raises(SourceError, match="missing"):
        WebDatasetSource(tmp_path / "missing.tar")
    packed = shard(tmp_path / "b.tar.gz", pairs(0, 3), "w:gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"b\.tar\.gz"):
        WebDatasetSource(packed)


@pytest.mark.parametrize("num_damaged", [1, 2])
def test_a_folder_whose_first_shard_is_damaged(num_damaged: int, tmp_path: Path) -> None:
    """It is not taken for a folder of images without images: the error names the shard."""
    (tmp_path / "d").mkdir()
    for number in range(2):
        path = shard(tmp_path / f"d/{number}.tar", pairs(2 * number, 2 * number + 2))
        if number < num_damaged:
            path.write_bytes(b"?" + path.read_bytes()[1:])
    with pytest.raises(SourceError, match=r"0\.tar, header at byte 0: not a tar header"):
        open_source(tmp_path / "d")
    shard(tmp_path / "d/0.tar", [("cat/1.jpg", image(1))])
    shard(tmp_path / "d/1.tar", [("cat/2.jpg", image(1))])
    with pytest.raises(SourceError, match=r"no images in .*0\.tar is no shard of WebDataset"):
        open_source(tmp_path / "d")


def test_a_shard_that_changes_is_noticed(tmp_path: Path) -> None:
    """Its size when it is opened to be read is that of when it was listed."""
    path = shard(tmp_path / "a.tar", pairs(0, 2))
    source = pickle.loads(pickle.dumps(WebDatasetSource(path)))
    shard(path, pairs(0, 30))
    with pytest.raises(SampleReadError, match="changed"):
        source[1]


def test_from_s3(tmp_path: Path, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a bucket, plain and compressed, give the samples of the local ones."""
    monkeypatch.setattr(tar_members, "_BLOCK_BYTES", 5000)
    shard(tmp_path / "0.tar", pairs(0, 5))
    shard(tmp_path / "1.tar", pairs(5, 7), "w:gz")
    for name in ("0.tar", "1.tar"):
        data = (tmp_path / name).read_bytes()
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=f"s/{name}", Body=data)
    dataset = SlipstreamDataset(f"{s3_bucket.url}/s/{{0..1}}.tar")
    cache = prepare_cache(dataset)
    for n in range(7):
        assert cache[n] == {"image": image(n), "label": n % 3, "key": f"{n:04}"}
    with pytest.raises(OSError, match=r"2\.tar"):
        SlipstreamDataset(f"{s3_bucket.url}/s/{{0..2}}.tar")
    assert isinstance(open_source(f"{s3_bucket.url}/s/1.tar"), WebDatasetSource)


class _Garbage:
    """Lets other threads run when the garbage collector finds it."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


def test_headers_of_arrays_in_several_threads() -> None:
    """Are read by one thread at a time: CPython 3.11 fails if a second one begins meanwhile."""
    data = npy(np.arange(3))
    component = Component("vector", ("npy",), "array")

    def decoded(_: int) -> list[int]:
        _Garbage()
        values: list[int] = decode_member(component, data).tolist()
        return values

    thresholds = gc.get_threshold()
    gc.set_threshold(10)  # it collects in the middle of a header, now and then
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(decoded, range(4000)))
    finally:
        gc.set_threshold(*thresholds)
    assert found == [[0, 1, 2]] * 4000

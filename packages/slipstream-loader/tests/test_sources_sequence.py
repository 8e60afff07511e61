"""Samples in memory as a source."""

from __future__ import annotations

import dataclasses
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_cache import FieldSpec, Source, StorageOptions
from slipstream_decoders import DecodeOnly
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources.sequence import SequenceSource


def photo(seed: int = 0, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def file(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


class MapDataset:
    """A map-style data set as users write them."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": photo(index), "label": index}


SAMPLE = {
    "image": file(photo()),
    "label": 3,
    "score": 0.5,
    "flag": True,
    "vector": np.arange(4, dtype=np.float16),
    "tensor": torch.ones(2, 3, dtype=torch.int8),
    "name": "ant",
    "blob": b"\0\1",
    "boxes": [[1, 2], [3, 4]],
    "meta": {"a": None},
}


def test_field_types_come_from_the_first_sample() -> None:
    """Each kind of value is stored as its own kind of field."""
    source = SequenceSource([SAMPLE])
    assert source.field_types == {
        "image": FieldSpec("image"),
        "label": FieldSpec("dense", "<i8"),
        "score": FieldSpec("dense", "<f8"),
        "flag": FieldSpec("dense", "|b1"),
        "vector": FieldSpec("dense", "<f2", (4,)),
        "tensor": FieldSpec("dense", "|i1", (2, 3)),
        "name": FieldSpec("ragged", content="str"),
        "blob": FieldSpec("ragged", content="bytes"),
        "boxes": FieldSpec("ragged", content="json"),
        "meta": FieldSpec("ragged", content="json"),
    }
    assert isinstance(source, Source)
    assert source[0] == SAMPLE


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "P", "RGB", "RGBA", "I", "F", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "RGBa"],
)
def test_pillow_images_become_lossless_files(mode: str) -> None:
    """A Pillow image of any mode is kept with the pixels of its RGB form."""
    if mode == "I;16":
        image = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(9, 7) * 1000)
    elif mode == "LAB":
        image = Image.merge("LAB", photo().split())
    elif mode == "RGBa":
        image = photo(mode="RGBA").convert("RGBa")
    else:
        image = photo(mode=mode)
    source = SequenceSource([{"image": image}])
    assert source.field_types == {"image": FieldSpec("image")}
    opened = Image.open(io.BytesIO(source[0]["image"]))
    if mode not in ("HSV", "RGBa"):
        assert opened.mode == mode
        assert opened.tobytes() == image.tobytes()
    else:
        assert opened.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_untouched_images_keep_the_bytes_of_their_file(tmp_path: Path) -> None:
    """A Pillow image that was opened and not decoded gives its own file, byte for byte."""
    data = file(photo(), quality=40)
    (tmp_path / "a.jpg").write_bytes(data)
    with Image.open(tmp_path / "a.jpg") as on_disk:
        in_memory = Image.open(io.BytesIO(data))
        source = SequenceSource([{"image": on_disk}, {"image": in_memory}])
        assert source[0]["image"] == source[1]["image"] == data
        assert source[0]["image"] == data
        assert on_disk.convert("RGB").tobytes() == in_memory.convert("RGB").tobytes()
    in_memory.load()
    assert source[1]["image"][:4] == b"\x89PNG"


def test_exif_of_pillow_images_is_kept() -> None:
    """A decoded image keeps its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 8
    image = Image.open(io.BytesIO(file(photo(), exif=exif)))
    image.load()
    stored = SequenceSource([{"image": image}])[0]["image"]
    assert Image.open(io.BytesIO(stored)).getexif()[0x0112] == 8


def test_hugging_face_image_dicts() -> None:
    """The bytes of {bytes, path} are the image; the path does not count in the fingerprint."""
    data = file(photo())
    here = SequenceSource([{"img": {"bytes": data, "path": "/here/a.jpg"}, "label": 1}])
    there = SequenceSource([{"img": {"bytes": data, "path": None}, "label": 1}])
    assert here.field_types["img"] == FieldSpec("image")
    assert here[0] == {"img": data, "label": 1}
    assert here.fingerprint() == there.fingerprint()


def test_image_dict_without_bytes_is_never_opened(tmp_path: Path) -> None:
    """A path alone is an error that says so, also where the file exists."""
    path = tmp_path / "secret.jpg"
    path.write_bytes(file(photo()))
    good = {"img": {"bytes": file(photo()), "path": None}}
    source = SequenceSource([good, {"img": {"bytes": None, "path": str(path)}}])
    with pytest.raises(SampleReadError, match=r"samples\[1\] has no bytes.*not opened"):
        source[1]


def test_closed_images_are_named() -> None:
    """An image that cannot be read any more is an OSError that names the sample."""
    image = photo(1)
    source = SequenceSource([{"image": photo()}, {"image": image}])
    image.close()
    with pytest.raises(OSError, match=r"field 'image' of samples\[1\]"):
        source[1]


def test_fingerprint_follows_the_values() -> None:
    """Equal values agree; any change of value, type, dtype, field or order of samples differs."""
    base: list[dict[str, Any]] = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    equal = [{"y": "a", "x": 1}, {"y": "b", "x": 2}]
    others: list[list[dict[str, Any]]] = [
        [{"x": 1, "y": "a"}],
        [{"x": 2, "y": "b"}, {"x": 1, "y": "a"}],
        [{"x": 1.0, "y": "a"}, {"x": 2.0, "y": "b"}],
        [{"x": True, "y": "a"}, {"x": 2, "y": "b"}],
        [{"x": np.int64(1), "y": "a"}, {"x": np.int64(2), "y": "b"}],
        [{"x": np.int8(1), "y": "a"}, {"x": np.int8(2), "y": "b"}],
        [{"x": np.array([1]), "y": "a"}, {"x": np.array([2]), "y": "b"}],
        [{"x": 1, "y": b"a"}, {"x": 2, "y": b"b"}],
        [{"x": 1, "z": "a"}, {"x": 2, "z": "b"}],
        [{"x": 1, "y": ["a"]}, {"x": 2, "y": ["b"]}],
        [{"x": 1, "y": None}, {"x": 2, "y": "b"}],
    ]
    assert SequenceSource(tuple(equal)).fingerprint() == SequenceSource(base).fingerprint()
    fingerprints = [SequenceSource(samples).fingerprint() for samples in [base, *others]]
    assert len(set(fingerprints)) == len(fingerprints)


def test_fingerprint_cannot_be_shifted_between_values() -> None:
    """Moving characters from one value to the next changes the fingerprint."""
    samples = [{"a": "xy", "b": "z"}], [{"a": "x", "b": "yz"}], [{"a": ["x", "y"], "b": []}]
    more = [{"a": ["x"], "b": ["y"]}], [{"a": [["x"], "y"], "b": []}]
    assert len({SequenceSource(s).fingerprint() for s in (*samples, *more)}) == 5


def test_fingerprint_of_pillow_images_follows_their_pixels() -> None:
    """Decoded images with equal pixels agree; other pixels, modes and palettes differ."""

    def fingerprint(image: Image.Image) -> str:
        return SequenceSource([{"image": image}]).fingerprint()

    swapped = photo(mode="P")
    swapped.putpalette(bytes(reversed(swapped.getpalette() or [])))
    images = [photo(), photo(1), photo(mode="L"), photo(mode="P"), swapped]
    assert fingerprint(photo()) == fingerprint(photo().copy())
    assert len({fingerprint(image) for image in images}) == len(images)


def test_fingerprint_is_stable() -> None:
    """The fingerprint of known samples is the same in every version and on every platform."""
    vector = np.array([1, 2], np.float32)
    samples = [{"a": 1, "b": 0.5, "c": "é", "d": b"\0", "e": [None, True], "f": vector}]
    expected = "7180085d73254c06e000b3b37d99aeb3b9ed256087a03186ff05274771c89311"
    assert SequenceSource(samples).fingerprint() == expected


@pytest.mark.parametrize("name", [None, "pixels"])
def test_options_take_part_in_the_fingerprint(name: str | None) -> None:
    """Arrays as images, or values under other names, are not the cache of what they were."""
    samples = [(np.zeros((4, 4, 3), np.uint8), 1)]
    options: list[dict[str, Any]] = [
        {},
        {"images": ["image"]},
        {"fields": ["a", "b"]},
        {"fields": ["b", "a"]},
    ]
    sources = [SequenceSource(samples, name, **given) for given in options]
    assert len({source.fingerprint() for source in sources}) == 4


def test_objects_need_a_fingerprint_or_a_name() -> None:
    """An object is known by its name or its own fingerprint; without one it is refused."""
    with pytest.raises(SourceError, match=r"type MapDataset has no fingerprint.*name="):
        SequenceSource(MapDataset())
    by_name = SequenceSource(MapDataset(), name="a").fingerprint()
    assert by_name != SequenceSource(MapDataset(), name="b").fingerprint()
    given = SequenceSource(MapDataset(fingerprint="a")).fingerprint()
    assert given == SequenceSource(MapDataset(fingerprint=lambda: "a")).fingerprint()
    assert given == SequenceSource(MapDataset(dataset_hash="a")).fingerprint()
    with pytest.raises(SourceError, match="no fingerprint"):
        SequenceSource(MapDataset(fingerprint=7))


def test_map_dataset_is_read_sample_by_sample() -> None:
    """A named data set object serves its samples, also from several threads."""
    source = SequenceSource(MapDataset(), name="mine")
    with ThreadPoolExecutor(4) as pool:
        samples = list(pool.map(source.__getitem__, [0, 1, 2] * 5))
    assert [sample["label"] for sample in samples] == [0, 1, 2] * 5
    opened = Image.open(io.BytesIO(samples[2]["image"]))
    assert opened.tobytes() == photo(2).tobytes()
    assert (len(source), source.uri, source.describe(1)) == (3, "memory:mine", "mine[1]")


def test_one_image_shared_by_many_threads() -> None:
    """An image object that stands in every sample is read safely at once."""
    image = photo(5).resize((300, 200))
    source = SequenceSource([{"image": image}] * 24)
    with ThreadPoolExecutor(6) as pool:
        files = set(pool.map(lambda i: source[i]["image"], range(24)))
    assert len(files) == 1


@pytest.mark.parametrize("index", [-1, 1])
def test_index_out_of_range(index: int) -> None:
    """A sample id below zero or too large is an IndexError."""
    with pytest.raises(IndexError, match=str(index)):
        SequenceSource([SAMPLE])[index]


def test_no_samples() -> None:
    """An empty list is an EmptyDatasetError."""
    with pytest.raises(EmptyDatasetError, match="list has no samples"):
        SequenceSource([])


@pytest.mark.parametrize("samples", [{"x": [1]}, "text", 7, iter([{}]), {1, 2}])
def test_what_is_no_sequence(samples: Any) -> None:
    """Dicts of columns, iterators, text and numbers are refused."""
    with pytest.raises(SourceError, match="not a sequence of samples"):
        SequenceSource(samples)


class Pair(NamedTuple):
    """A sample with names."""

    picture: bytes
    kind: int


@dataclasses.dataclass
class Record:
    """Another."""

    picture: bytes
    kind: int


def test_samples_of_other_forms() -> None:
    """Pairs are image and label; named tuples and dataclasses have names; others are given them."""
    data = file(photo())
    expected = {"picture": data, "kind": 3}
    assert SequenceSource([(photo(), 3)])[0].keys() == {"image", "label"}
    for sample in (Pair(data, 3), Record(data, 3)):
        assert SequenceSource([sample])[0] == expected
    for raw in ((data, 3), [data, 3]):
        assert SequenceSource([raw], fields=("picture", "kind"))[0] == expected
    assert SequenceSource([7, 8], fields=["x"])[1] == {"x": 8}


def test_samples_of_no_known_form() -> None:
    """A tuple without names is refused with what to do."""
    with pytest.raises(SourceError, match=r"samples\[0\] is a tuple of 3 values; expected a dict"):
        SequenceSource([(b"", 1, 2)])
    with pytest.raises(SourceError, match=r"samples\[0\] has 2 values for fields"):
        SequenceSource([(b"", 1)], fields=("a", "b", "c"))
    with pytest.raises(TypeError, match="lists of names"):
        SequenceSource([(b"", 1)], fields="ab")


@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7, 4), (9, 7, 1), (9, 7), (3, 9, 7), (1, 9, 7)])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_arrays_and_tensors_as_images(shape: tuple[int, ...], convert: Any) -> None:
    """A field that is said to hold images keeps the pixels of its arrays in lossless files."""
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    if convert is torch.from_numpy and len(shape) == 3 and shape[0] == 9:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    source = SequenceSource([(convert(pixels), 1)], images=["image"])
    assert source.field_types["image"] == FieldSpec("image")
    opened = np.asarray(Image.open(io.BytesIO(source[0]["image"])))
    expected = pixels if pixels.ndim == 2 or pixels.shape[0] == 9 else pixels.transpose(1, 2, 0)
    assert (opened == expected.reshape(opened.shape)).all()


def test_arrays_that_are_no_images() -> None:
    """Floats, two channels and unknown names are refused by name; other arrays stay arrays."""
    for array in (np.zeros((4, 4, 3)), np.zeros((5, 5, 2), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(SourceError, match=r"field 'x' of samples\[0\] is .* an image is uint8"):
            SequenceSource([{"x": array}], images=["x"])
    with pytest.raises(SourceError, match=r"samples\[0\] has no field 'y'"):
        SequenceSource([{"x": 1}], images=["y"])
    kept = SequenceSource([{"x": np.zeros((4, 4, 3), np.uint8)}])
    assert kept.field_types["x"] == FieldSpec("dense", "|u1", (4, 4, 3))


def test_images_in_mappings() -> None:
    """A mapping that holds images gives fields of its own; others stay JSON."""
    views = {"left": photo(1), "right": {"bytes": file(photo(2)), "path": None}, "gap": 0.5}
    source = SequenceSource([{"views": views, "meta": {"a": [1]}}])
    assert list(source.field_types) == ["views.left", "views.right", "views.gap", "meta"]
    assert source.field_types["views.left"] == source.field_types["views.right"]
    assert (source[0]["views.gap"], source[0]["meta"]) == (0.5, {"a": [1]})


def test_torchvision_data_sets(tmp_path: Path) -> None:
    """FakeData and ImageFolder of torchvision: pixels and labels through cache and loader."""
    import torchvision

    fake = torchvision.datasets.FakeData(6, (3, 20, 30), num_classes=4)
    options = StorageOptions(codec="rgb")
    dataset = SlipstreamDataset(fake, name="fake", storage_options=options, cache_dir=tmp_path)
    loader = SlipstreamLoader(
        dataset, 6, shuffle=False, verbose=False, pipelines={"image": [DecodeOnly()]}
    )
    batch = next(iter(loader))
    for i in range(6):
        image, label = fake[i]
        assert (np.asarray(image) == batch["image"][i]).all()
        assert label == batch["label"][i]
    (tmp_path / "photos/a").mkdir(parents=True)
    (tmp_path / "photos/a/1.jpg").write_bytes(file(photo(3), quality=60))
    folder = torchvision.datasets.ImageFolder(
        tmp_path / "photos", loader=lambda path: Image.open(io.BytesIO(Path(path).read_bytes()))
    )
    source = SequenceSource(folder, "folder")
    assert source[0] == {"image": file(photo(3), quality=60), "label": 0}


def test_values_without_content_need_a_name() -> None:
    """A value that cannot be hashed is named, with the advice to give a name."""
    with pytest.raises(SourceError, match=r"sample 0: a value of type complex.*name="):
        SequenceSource([{"x": [1j]}]).fingerprint()


def test_pickled_source_reads_the_same() -> None:
    """A source survives pickling, as spawned workers need."""
    source = SequenceSource([{"image": photo(), "label": 1}])
    copy = pickle.loads(pickle.dumps(source))
    assert copy[0] == source[0]
    assert copy.fingerprint() == source.fingerprint()

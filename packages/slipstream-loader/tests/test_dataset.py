"""SlipstreamDataset: one sample at a time, and the place of its cache."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from slipstream_cache import (
    Codec,
    FieldNotFoundError,
    FieldSpec,
    SampleCache,
    StorageOptions,
    build,
    cache_key,
)
from slipstream_loader.dataset import SlipstreamDataset, decode_image
from slipstream_loader.errors import DatasetArgumentError, ImageDecodeError, SourceError
from slipstream_loader.sources import ImageFolderSource, SequenceSource
from slipstream_loader.transcode import transcode


def photo(seed: int, height: int = 61, width: int = 98) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two classes: JPEG, grey JPEG, PNG with alpha, and a CMYK JPEG."""
    root = tmp_path / "photos"
    files = {
        "ant/a.jpg": encoded(photo(0)),
        "ant/b.jpg": encoded(photo(1).convert("L")),
        "bee/c.png": encoded(photo(2).convert("RGBA"), "PNG"),
        "bee/d.JPEG": encoded(photo(3).convert("CMYK")),
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pillow(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_samples_are_those_of_the_source(folder: Path) -> None:
    """By default dataset[i] is the source's sample, with the bytes of the file."""
    dataset = SlipstreamDataset(folder)
    assert dataset[2] == {
        "image": (folder / "bee/c.png").read_bytes(),
        "label": 1,
        "index": 2,
        "path": "bee/c.png",
    }
    assert dataset.field_types["image"] == FieldSpec("image")
    assert dataset.image_fields == ["image"]
    assert dataset.classes == ["ant", "bee"]
    assert dataset.class_to_idx == {"ant": 0, "bee": 1}
    assert dataset.storage_options == StorageOptions()


@pytest.mark.parametrize("name", ["source", "local_dir", "input_dir", "remote_dir"])
def test_each_name_of_the_source(folder: Path, name: str) -> None:
    """The source may be given under each of its names."""
    arguments: dict[str, Any] = {name: str(folder)}
    assert len(SlipstreamDataset(**arguments)) == 4


def test_exactly_one_source(folder: Path) -> None:
    """No source, or two of them, is a TypeError that says so."""
    with pytest.raises(TypeError, match=r"exactly one source.*none was given"):
        SlipstreamDataset()
    with pytest.raises(DatasetArgumentError, match="source and local_dir were given"):
        SlipstreamDataset(folder, local_dir=folder)


def test_what_has_a_content_takes_no_name(folder: Path) -> None:
    """A name that would have no effect is refused; no URL is shown."""
    for source in (folder, "https://me:secret@localhost/a.tar", ImageFolderSource(folder)):
        with pytest.raises(DatasetArgumentError, match=r"name='mine'.*leave it out") as caught:
            SlipstreamDataset(source, name="mine")
        assert "secret" not in str(caught.value)


def test_indices_are_those_of_a_list(folder: Path) -> None:
    """Negative indices count from the end; others are IndexError; no int is TypeError."""
    dataset = SlipstreamDataset(folder)
    assert len(dataset) == 4
    assert dataset[-1] == dataset[3]
    assert dataset[np.int64(-4)] == dataset[0]
    for index in (4, -5):
        with pytest.raises(IndexError, match="4 samples"):
            dataset[index]
    with pytest.raises(TypeError):
        dataset["0"]  # type: ignore[index]
    assert [sample["index"] for sample in dataset] == [0, 1, 2, 3]  # type: ignore[attr-defined]


def test_decoded_images_are_those_of_pillow(folder: Path) -> None:
    """decode_images gives RGB Pillow images, or uint8 tensors of shape (3, H, W)."""
    images = SlipstreamDataset(folder, decode_images=True)
    tensors = SlipstreamDataset(folder, decode_images=True, to_pil=False)
    for i in range(4):
        expected = pillow(folder / images[i]["path"])
        assert images[i]["image"].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(images[i]["image"]), expected)
        tensor = tensors[i]["image"]
        assert (tensor.dtype, tensor.shape) == (torch.uint8, (3, 61, 98))
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), expected)


def test_decode_image_takes_bytes_and_arrays(folder: Path) -> None:
    """decode_image gives the same for bytes, bytearray, memoryview and uint8 arrays."""
    data = (folder / "ant/a.jpg").read_bytes()
    expected = decode_image(data)
    for other in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert torch.equal(decode_image(other), expected)
    assert isinstance(decode_image(data, to_pil=True), Image.Image)
    for bad in (b"", b"no image", data[:-100]):
        with pytest.raises(ImageDecodeError):
            decode_image(bad)


def test_decode_image_takes_what_holds_an_image(folder: Path) -> None:
    """Tensors of a file, dicts of Hugging Face, and images that are decoded already."""
    data = (folder / "ant/a.jpg").read_bytes()
    expected = decode_image(data)
    pixels = expected.permute(1, 2, 0).contiguous()
    file = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    for other in (file, {"bytes": data, "path": None}, decode_image(data, to_pil=True)):
        assert torch.equal(decode_image(other), expected)
    for image in (expected, expected.numpy(), pixels, pixels.numpy()):
        assert torch.equal(decode_image(image), expected)
    decoded = decode_image(expected)
    decoded.zero_()
    assert expected.any()
    assert torch.equal(decode_image(pixels[:, :, 0].numpy())[1], expected[0])
    for bad, reason in (
        ({"bytes": None, "path": "a.jpg"}, "no bytes"),
        (expected.float(), "float32 of shape"),
        ([1, 2], "int64 of shape"),
    ):
        with pytest.raises(ImageDecodeError, match=reason):
            decode_image(bad)  # type: ignore[call-overload]


def test_damaged_images_name_the_sample(folder: Path) -> None:
    """A cut-off image is an error with field, sample id and file, never half an image."""
    path = folder / "bee" / "d.JPEG"
    path.write_bytes(path.read_bytes()[:-150])
    dataset = SlipstreamDataset(folder, decode_images=True)
    with pytest.raises(ImageDecodeError, match=r"'image' of sample 3 \(bee/d.JPEG\).*truncated"):
        dataset[-1]


def test_pipelines_are_applied_after_decoding(folder: Path) -> None:
    """A field's callables get its decoded value, one after another."""
    dataset = SlipstreamDataset(
        folder,
        decode_images=True,
        to_pil=False,
        pipelines={"image": [torch.Tensor.float, torch.mean], "label": lambda label: label + 10},
    )
    sample = dataset[3]
    assert sample["label"] == 11
    assert sample["image"].item() == pytest.approx(pillow(folder / "bee/d.JPEG").mean(), abs=1e-3)


def test_wrong_pipelines_are_refused(folder: Path) -> None:
    """An unknown field, or a stage that is not callable, is refused at once."""
    with pytest.raises(FieldNotFoundError, match=r"no field 'img'.*'image'"):
        SlipstreamDataset(folder, pipelines={"img": str})
    with pytest.raises(DatasetArgumentError, match=r"pipelines\['label'\] holds 3"):
        SlipstreamDataset(folder, pipelines={"label": [str, 3]})  # type: ignore[list-item]


def test_cache_path_is_known_before_any_build(folder: Path, tmp_path: Path) -> None:
    """The path follows from the content and the options alone, and nothing is written."""
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "caches")
    key = cache_key(ImageFolderSource(folder).fingerprint(), StorageOptions())
    assert dataset.cache_path == tmp_path / "caches" / f"slipcache-{key}"
    assert not (tmp_path / "caches").exists()
    small = SlipstreamDataset(
        folder, cache_dir=tmp_path / "caches", storage_options=StorageOptions(max_size=16)
    )
    assert small.cache_path != dataset.cache_path
    assert small.storage_options.max_size == 16


def test_cache_root_comes_from_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without cache_dir, caches lie in $SLIPSTREAM_CACHE_DIR."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "root"))
    assert SlipstreamDataset(folder).cache_path.parent == (tmp_path / "root").resolve()


def test_fields_of_the_storage_options_are_the_fields(folder: Path) -> None:
    """Storing some fields only gives a data set of these fields."""
    options = StorageOptions(fields=("label", "image"))
    dataset = SlipstreamDataset(folder, storage_options=options)
    assert list(dataset.field_types) == list(dataset[0]) == ["image", "label"]
    with pytest.raises(FieldNotFoundError):
        SlipstreamDataset(folder, storage_options=StorageOptions(fields=("nose",)))


@pytest.mark.parametrize("codec", ["jpeg", "yuv420", "rgb"])
def test_a_cache_is_a_source(
    folder: Path, tmp_path: Path, codec: Literal["jpeg", "yuv420", "rgb"]
) -> None:
    """A built cache serves the same samples; its images of any codec decode to the same picture."""
    options = StorageOptions(codec=codec)
    original = SlipstreamDataset(folder, decode_images=True, cache_dir=tmp_path)
    cache = build(
        ImageFolderSource(folder),
        original.cache_path.with_name(f"c-{codec}"),
        options=options,
        transcode=transcode,
    )
    dataset = SlipstreamDataset(cache.cache_dir, decode_images=True)
    assert isinstance(dataset.source, SampleCache)
    assert dataset.cache_path == cache.cache_dir
    assert dataset.storage_options == options
    assert dataset.field_types == original.field_types
    assert not hasattr(dataset, "classes")
    for i in range(4):
        expected, found = original[i], dataset[i]
        assert (found["label"], found["path"]) == (expected["label"], expected["path"])
        difference = np.asarray(found["image"]).astype(float) - np.asarray(expected["image"])
        assert np.abs(difference).mean() < 3
    codecs = cache.payloads("image", range(4)).codecs.tolist()
    assert codecs == [Codec.JPEG, Codec.JPEG, Codec[codec.upper()], Codec[codec.upper()]]


def test_damaged_images_in_a_cache_name_the_sample(folder: Path, tmp_path: Path) -> None:
    """A damaged image is stored as it is, and decoding it from the cache is an error."""
    path = folder / "bee" / "c.png"
    data = path.read_bytes()[:-150]
    path.write_bytes(data)
    cache = build(ImageFolderSource(folder), tmp_path / "slipcache-x", transcode=transcode)
    assert SlipstreamDataset(cache)[2]["image"] == data
    with pytest.raises(ImageDecodeError, match=r"sample 2 \(.*slipcache-x"):
        SlipstreamDataset(cache, decode_images=True)[2]


def test_a_cache_with_storage_options_is_stored_again(folder: Path, tmp_path: Path) -> None:
    """Options make a cache the source of another one, of another name."""
    cache = build(ImageFolderSource(folder), tmp_path / "c", transcode=transcode)
    again = SlipstreamDataset(cache, storage_options=StorageOptions(max_size=8))
    assert again.cache_path != SlipstreamDataset(cache).cache_path == cache.cache_dir


def test_lists_and_sources(folder: Path) -> None:
    """A list of dicts and a Source object serve as sources."""
    rows = [{"img": photo(i), "y": i} for i in range(3)]
    dataset = SlipstreamDataset(rows, decode_images=True)
    assert dataset.image_fields == ["img"]
    assert np.array_equal(np.asarray(dataset[1]["img"]), np.asarray(photo(1)))
    source = SequenceSource(rows, name="rows")
    assert SlipstreamDataset(source).source is source
    with pytest.raises(AttributeError):
        _ = dataset.classes


def test_unsupported_sources_are_refused() -> None:
    """A URL of another service is refused with what is supported, as are options without use."""
    with pytest.raises(SourceError, match="URLs cannot be opened; supported are"):
        SlipstreamDataset(remote_dir="gs://bucket/train")
    with pytest.raises(SourceError, match="takes no storage_options and no expected_version"):
        SlipstreamDataset([{"x": 1}], profile="wasabi", expected_version="1")


def test_repr_tells_source_and_fields(folder: Path) -> None:
    """The repr names the kind, the place, the size and the fields."""
    text = repr(SlipstreamDataset(folder))
    assert "4 samples of imagefolder" in text
    assert str(folder) in text
    assert "2 classes" in text
    assert "label  dense <i8" in text


def test_pickled_dataset_is_the_same(folder: Path, tmp_path: Path) -> None:
    """A data set survives pickling, over a folder and over a cache."""
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path, decode_images=True, to_pil=False)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.cache_path == dataset.cache_path
    assert torch.equal(copy[1]["image"], dataset[1]["image"])
    cache = build(ImageFolderSource(folder), tmp_path / "c", transcode=transcode)
    assert pickle.loads(pickle.dumps(SlipstreamDataset(cache)))[3] == SlipstreamDataset(cache)[3]


def test_torch_loader_workers(folder: Path) -> None:
    """torch's DataLoader reads the data set in spawned worker processes."""
    dataset = SlipstreamDataset(folder, decode_images=True, to_pil=False)
    loader = DataLoader(dataset, batch_size=4, num_workers=1, multiprocessing_context="spawn")
    (batch,) = list(loader)
    assert batch["image"].shape == (4, 3, 61, 98)
    assert batch["label"].tolist() == [0, 0, 1, 1]

"""Label maps beside images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from slipstream_cache import StorageOptions
from slipstream_decoders import (
    CorruptImageError,
    DecodeCenterCrop,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
)
from slipstream_loader import MaskCrop, SlipstreamDataset, SlipstreamLoader, select
from slipstream_loader.masks import decode_mask, nearest


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sample(seed: int) -> dict[str, Any]:
    """An image and a palette mask that hold the same numbers, constant in blocks."""
    random = np.random.default_rng(seed)
    height, width = random.integers(60, 120, 2).tolist()
    small = random.integers(0, 8, (6, 5), dtype=np.uint8) * 30
    grey = np.kron(small, np.ones((20, 24), np.uint8))[:height, :width]
    mask = Image.fromarray(grey, "L")
    mask = mask.convert("P") if seed % 2 else mask
    if seed % 2:
        mask = Image.fromarray(grey, "P")
        mask.putpalette(random.bytes(768))
    return {"image": png(Image.fromarray(np.stack([grey] * 3, axis=2))), "mask": png(mask)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Twelve images with masks."""
    source = select([sample(i) for i in range(12)], as_files=["mask"])
    return SlipstreamDataset(
        source,
        cache_dir=tmp_path_factory.mktemp("masks"),
        storage_options=StorageOptions(codec="rgb"),
    )


@pytest.mark.parametrize(
    "crop",
    [DecodeRandomResizedCrop(48, scale=(0.05, 1)), DecodeCenterCrop(40), DecodeResizeCrop(50, 44)],
)
def test_masks_are_cropped_where_their_images_are(dataset: SlipstreamDataset, crop: Any) -> None:
    """Where the image is one colour around a pixel, the mask has its value there, in any batch."""
    for batch_size in (12, 5):
        loader = SlipstreamLoader(
            dataset,
            batch_size,
            seed=3,
            drop_last=False,
            verbose=False,
            pipelines={"image": [crop], "mask": [MaskCrop(crop)]},
        )
        for batch in loader:
            image, mask = batch["image"][:, 0].int(), batch["mask"].int()
            assert (batch["mask"].dtype, mask.shape) == (torch.uint8, image.shape)
            flat = image % 30 == 0  # not at an edge, where the image's colours are mixed
            assert flat.float().mean() > 0.3
            wrong = (image != mask) & flat
            assert wrong.float().mean() < 0.02  # a mixed colour may be a multiple of 30


def test_boxes_do_not_depend_on_the_batch(dataset: SlipstreamDataset) -> None:
    """A sample's mask is the same in any batch, and another in another epoch."""
    crop = DecodeRandomResizedCrop(32)
    found = []
    for batch_size in (12, 1):
        loader = SlipstreamLoader(
            dataset, batch_size, seed=1, verbose=False, pipelines={"mask": [MaskCrop(crop)]}
        )
        epochs = [
            {
                int(i): m
                for batch in loader
                for i, m in zip(batch["_indices"], batch["mask"], strict=True)
            }
            for _ in range(2)
        ]
        found.append(epochs)
    for i in range(12):
        assert (found[0][0][i] == found[1][0][i]).all()
    assert any((found[0][0][i] != found[0][1][i]).any() for i in range(12))


def test_nearest_agrees_with_torchvision() -> None:
    """Windows of whole pixels: the pixel at the centre, by integers and by torchvision."""
    random = np.random.default_rng(0)
    values = random.integers(0, 200, (37, 53), dtype=np.int32)
    for _ in range(20):
        x, y = int(random.integers(0, 40)), int(random.integers(0, 30))
        width, height = int(random.integers(1, 53 - x)), int(random.integers(1, 37 - y))
        size = int(random.integers(1, 60)), int(random.integers(1, 60))
        ours = nearest(values, np.array([x, y, width, height], np.float64), size)
        rows = y + (2 * np.arange(size[0]) + 1) * height // (2 * size[0])
        columns = x + (2 * np.arange(size[1]) + 1) * width // (2 * size[1])
        assert (ours == values[np.ix_(rows, columns)]).all()
        crop = torch.from_numpy(values[y : y + height, x : x + width].copy())[None]
        theirs = torchvision.transforms.functional.resize(
            crop, list(size), torchvision.transforms.InterpolationMode.NEAREST_EXACT
        )
        same = (torch.from_numpy(ours) == theirs[0]).float().mean()
        assert same > 0.8  # it computes in float32, which goes either way on borders of pixels


@pytest.mark.parametrize("mode", ["1", "L", "P", "I", "I;16"])
def test_values_are_those_of_the_file(mode: str) -> None:
    """Values of every mode with one channel come back; 16 bits too."""
    values = np.random.default_rng(2).integers(0, 2 if mode == "1" else 256, (9, 7))
    if mode in ("I", "I;16"):
        values *= 257
    kinds = {"1": bool, "I": np.int32, "I;16": np.uint16}
    image = Image.fromarray(values.astype(kinds.get(mode, np.uint8)))
    if mode == "P":
        image = Image.fromarray(values.astype(np.uint8), "P")
        image.putpalette(bytes(range(256)) * 3)
    assert image.mode == mode
    file = io.BytesIO()
    image.save(file, "TIFF" if mode == "I" else "PNG")
    assert (decode_mask(file.getvalue()) == values).all()


def test_masks_that_cannot_be_decoded(tmp_path: Path) -> None:
    """Colour images and damaged files follow the loader's on_error, and are named."""
    given = [sample(i) for i in range(4)]
    given[1]["mask"] = given[1]["mask"][:50]
    given[2]["mask"] = given[2]["image"]
    dataset = SlipstreamDataset(select(given, as_files=["mask"]), cache_dir=tmp_path)
    crop = DecodeCenterCrop(16)
    pipelines = {"image": [crop], "mask": [MaskCrop(crop, fill=255)]}
    options: dict[str, Any] = {"shuffle": False, "verbose": False, "pipelines": pipelines}
    with pytest.raises(CorruptImageError, match=r"masks of samples \[1, 2\] cannot be decoded"):
        next(iter(SlipstreamLoader(dataset, 4, **options)))
    batch = next(iter(SlipstreamLoader(dataset, 4, on_error="zero", **options)))
    assert batch["_valid"].tolist() == [True, False, False, True]
    assert (batch["mask"][1:3] == 255).all()
    batch = next(iter(SlipstreamLoader(dataset, 4, on_error="skip", **options)))
    assert batch["_indices"].tolist() == [0, 3]
    with pytest.raises(ValueError, match="fill is a value of int32, got 2147483648"):
        MaskCrop(crop, fill=2**31)
    with pytest.raises(TypeError, match="MaskCrop takes the crop stage"):
        MaskCrop(224)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "crop", [DecodeRandomResizedCrop(24), DecodeCenterCrop(32), DecodeResizeCrop(50, 44)]
)
def test_masks_at_another_scale(tmp_path: Path, crop: Any) -> None:
    """Are cropped at the boxes of their images, as those of their size."""
    given = [sample(i) for i in range(12)]
    double = []
    for row in given:
        mask = np.asarray(Image.open(io.BytesIO(row["mask"])))
        double.append(np.kron(mask, np.ones((2, 2), np.uint8)))
    large = [{**row, "mask": png(Image.fromarray(m))} for row, m in zip(given, double, strict=True)]
    found = []
    for rows in (given, large):
        loader = SlipstreamLoader(
            SlipstreamDataset(select(rows, as_files=["mask"]), cache_dir=tmp_path),
            12,
            seed=2,
            verbose=False,
            pipelines={"mask": [MaskCrop(crop)], "image": [crop]},
        )
        found.append(next(iter(loader)))
    assert torch.equal(found[0]["image"], found[1]["image"])
    assert torch.equal(found[0]["mask"], found[1]["mask"])


def test_masks_of_another_shape(tmp_path: Path) -> None:
    """Their crops would be of other places: they are named, where there are images beside them."""
    given = [sample(i) for i in range(4)]
    for row, change in ((1, (0, -9)), (2, (7, 0))):
        mask = Image.open(io.BytesIO(given[row]["mask"]))
        given[row]["mask"] = png(mask.crop((0, 0, mask.width + change[0], mask.height + change[1])))
    given[3]["mask"] = png(Image.open(io.BytesIO(given[3]["mask"])).rotate(90, expand=True))
    dataset = SlipstreamDataset(select(given, as_files=["mask"]), cache_dir=tmp_path)
    crop = DecodeRandomResizedCrop(16)
    pipelines = {"mask": [MaskCrop(crop)], "image": [crop]}
    options: dict[str, Any] = {"shuffle": False, "verbose": False, "pipelines": pipelines}
    with pytest.raises(CorruptImageError, match=r"masks of samples \[1, 2\].*the shape") as caught:
        next(iter(SlipstreamLoader(dataset, 4, **options)))
    assert caught.value.sample_ids == [1, 2]
    batch = next(iter(SlipstreamLoader(dataset, 4, on_error="skip", **options)))
    assert batch["_indices"].tolist() == [0, 3]
    alone = SlipstreamLoader(dataset, 4, **{**options, "pipelines": {"mask": [MaskCrop(crop)]}})
    assert next(iter(alone))["mask"].shape == (4, 16, 16)


@pytest.mark.parametrize("damaged", [False, True])
def test_any_fill_is_kept(tmp_path: Path, damaged: bool) -> None:
    """A fill that uint8 does not hold, such as torch's ignore_index; one dtype for all batches."""
    given = [sample(i) for i in range(4)]
    if damaged:
        given[1]["mask"] = given[1]["mask"][:50]
    dataset = SlipstreamDataset(select(given, as_files=["mask"]), cache_dir=tmp_path)
    stage = MaskCrop(DecodeCenterCrop(16), fill=-100)
    loader = SlipstreamLoader(
        dataset, 4, shuffle=False, verbose=False, on_error="zero", pipelines={"mask": [stage]}
    )
    mask = next(iter(loader))["mask"]
    assert mask.dtype == torch.int32
    assert (mask == -100).all(dim=(1, 2)).tolist() == [False, damaged, False, False]
    assert mask[[0, 2, 3]].min() >= 0

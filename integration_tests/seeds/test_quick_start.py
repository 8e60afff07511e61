"""The quick start that users were promised runs as written, but for the device and the place of
the data: no bucket and no GPU is at hand here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image folder, with caches beside it."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    write_sample_folder(tmp_path / "train", num_classes=2, images_per_class=6, seed=1)
    return tmp_path / "train"


def test_quick_start(train: Path) -> None:
    """Data set, loader with a fused decode and a bare Normalize(), training batches."""
    from slipstream import Normalize, RandomResizedCrop, SlipstreamDataset, SlipstreamLoader

    dataset = SlipstreamDataset(
        local_dir=str(train),
        decode_images=False,  # Let loader handle decoding
    )
    loader = SlipstreamLoader(
        dataset,
        batch_size=4,
        pipelines={
            "image": [
                RandomResizedCrop(224, device="cpu"),
                Normalize(),
            ],
        },
    )
    for batch in loader:
        images = batch["image"]  # [B, 3, 224, 224] normalized tensor
        labels = batch["label"]  # [B] tensor
        assert images.shape == (4, 3, 224, 224)
        assert images.dtype == torch.float32
        assert abs(images.mean()) < 3
        assert labels.shape == (4,)


def test_looking_at_a_cache_in_a_notebook(train: Path) -> None:
    """cache_path, len, excluded fields, loader.cache, CHW tensors, shutdown."""
    from slipstream import DecodeOnly, SlipstreamDataset, SlipstreamLoader
    from slipstream.cache import OptimizedCache

    dataset = SlipstreamDataset(local_dir=str(train), decode_images=True, to_pil=False)
    image = dataset[0]["image"]
    assert (image.ndim, image.shape[0], image.dtype) == (3, 3, torch.uint8)
    loader = SlipstreamLoader(
        dataset,
        batch_size=1,
        shuffle=False,
        pipelines={"image": [DecodeOnly()]},
        exclude_fields=["path"],
        verbose=False,
    )
    assert isinstance(loader.cache, OptimizedCache)
    assert loader.cache.cache_dir == dataset.cache_path
    assert f"{len(dataset)} samples" in str(loader.cache)
    batch = next(iter(loader))
    assert "path" not in batch
    assert torch.equal(torch.from_numpy(batch["image"][0]).permute(2, 0, 1), image)
    loader.shutdown()

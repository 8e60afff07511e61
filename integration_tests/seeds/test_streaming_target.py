"""The streaming code that users were promised runs as written, but for the bucket's name: LitData
chunks on an S3 server, decoders that belong to the data set, training batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def s3_dir(s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a LitData data set of images with labels."""
    from litdata.streaming.writer import BinaryWriter

    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=6, seed=1)
    writer = BinaryWriter(cache_dir=str(tmp_path / "chunks"), chunk_size=5)
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.jpg"))):
        writer.add_item(number, {"image": path.read_bytes(), "label": number})
    writer.done()
    writer.merge()
    url: str = s3_bucket.put_folder(tmp_path / "chunks", "dataset/train")
    return f"{url}/"


def test_target_api(s3_dir: str, tmp_path: Path) -> None:
    """A streaming data set with classes of decoders, torch's arguments, batch pipelines."""
    from visionlab.slipstream import (
        FastLoader,
        FastStreamingDataLoader,
        Normalize,
        RandomResizeCropDecoder,
        StreamingDataset,
    )

    batch_size, num_workers = 4, 2
    dataset = StreamingDataset(
        s3_dir=s3_dir,
        cache_dir=str(tmp_path / "here"),
        decode_images=False,  # convenience can automatically decode when working in notebook
        to_pil=False,
        sample_pipelines={  # for training, use optimized decoders
            "image": [RandomResizeCropDecoder],  # or CenterCropDecoder, etc.
        },
    )
    loader = FastStreamingDataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        batch_pipelines={"image": Normalize()},
    )
    labels = []
    for batch in loader:
        images = batch["image"]  # [B, C, H, W] tensor
        assert images.shape == (4, 3, 224, 224)
        labels += batch["label"].tolist()  # [B] tensor
    assert labels == list(range(12))
    assert FastLoader is FastStreamingDataLoader
    assert dataset.cache_path.parent == tmp_path / "here"


def test_quick_start_from_s3(s3_dir: str) -> None:
    """``remote_dir`` of LitData chunks, a fused decode and a bare Normalize()."""
    from slipstream import Normalize, RandomResizedCrop, SlipstreamDataset, SlipstreamLoader

    dataset = SlipstreamDataset(
        remote_dir=s3_dir,
        decode_images=False,  # Let loader handle decoding
    )
    loader = SlipstreamLoader(
        dataset,
        batch_size=4,
        pipelines={"image": [RandomResizedCrop(224, device="cpu"), Normalize()]},
    )
    for batch in loader:
        assert batch["image"].shape == (4, 3, 224, 224)
        assert batch["label"].shape == (4,)


def test_images_in_a_notebook(s3_dir: str) -> None:
    """``decode_images=True`` gives Pillow images, one request at a time."""
    from visionlab.slipstream import StreamingDataset

    dataset = StreamingDataset(s3_dir=s3_dir, decode_images=True, to_pil=True)
    sample = dataset[7]
    assert sample["image"].mode == "RGB"
    assert sample["label"] == 7

"""The notebook that compares channel statistics runs as written, but for the place of the data and
the part that needs YUV420 planes."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(120)


def test_statistics_of_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand over decoded tensors, and by compute_normalization_stats: the same numbers."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    write_sample_folder(tmp_path / "val", num_classes=2, images_per_class=6, seed=1)
    LITDATA_VAL_PATH = str(tmp_path / "val")

    from slipstream import DecodeCenterCrop, SlipstreamDataset, SlipstreamLoader

    dataset = SlipstreamDataset(
        remote_dir=LITDATA_VAL_PATH,
        decode_images=False,
    )
    loader = SlipstreamLoader(
        dataset,
        batch_size=4,
        pipelines={"image": [DecodeCenterCrop(224)]},
        exclude_fields=["path"],
        verbose=True,
    )
    cache = loader.cache

    import numpy as np

    from slipstream import IMAGENET_MEAN, IMAGENET_STD, compute_normalization_stats

    ds_pil = SlipstreamDataset(
        remote_dir=LITDATA_VAL_PATH,
        decode_images=True,
        to_pil=False,  # returns CHW tensor
    )
    channel_sum = np.zeros(3, dtype=np.float64)
    channel_sum_sq = np.zeros(3, dtype=np.float64)
    pixel_count = 0
    for i in range(10):
        img = ds_pil[i]["image"]  # CHW uint8 tensor
        pixels = img.permute(1, 2, 0).numpy().reshape(-1, 3).astype(np.float64) / 255.0
        channel_sum += pixels.sum(axis=0)
        channel_sum_sq += (pixels * pixels).sum(axis=0)
        pixel_count += pixels.shape[0]
    ref_mean = channel_sum / pixel_count
    ref_std = np.sqrt(channel_sum_sq / pixel_count - ref_mean**2)

    stats_10 = compute_normalization_stats(cache, image_format="jpeg", num_samples=10)
    stats = compute_normalization_stats(cache, image_format="jpeg")
    mean_diff = np.abs(np.array(IMAGENET_MEAN) - np.array(stats["mean"]))
    std_diff = np.abs(np.array(IMAGENET_STD) - np.array(stats["std"]))

    np.testing.assert_allclose(stats_10["mean"], ref_mean, rtol=1e-12)
    np.testing.assert_allclose(stats_10["std"], ref_std, rtol=1e-9)
    assert max(mean_diff.max(), std_diff.max()) < 0.3
    loader.shutdown()

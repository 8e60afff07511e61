"""The notebook that compares channel statistics and shows YUV420 planes runs as written, but for
the place and the number of its images."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream_loader.sample_images import write_sample_folder

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

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


@pytest.fixture
def LITDATA_VAL_PATH(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image folder, with caches beside it."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    write_sample_folder(tmp_path / "val", num_classes=2, images_per_class=6, seed=1)
    return str(tmp_path / "val")


def test_planes(LITDATA_VAL_PATH: str) -> None:
    """Statistics of planes, YUV pixels, planes and pictures of them."""
    import numpy as np

    from slipstream import (
        DecodeCenterCrop,
        DecodeYUVFullRes,
        DecodeYUVPlanes,
        SlipstreamDataset,
        SlipstreamLoader,
        compute_normalization_stats,
    )

    dataset = SlipstreamDataset(
        remote_dir=LITDATA_VAL_PATH,
        decode_images=False,
    )
    # Build YUV420 cache if needed (uses the existing JPEG cache)
    loader_yuv = SlipstreamLoader(
        dataset,
        batch_size=256,
        image_format="yuv420",
        pipelines={"image": [DecodeCenterCrop(224)]},
        exclude_fields=["path"],
        verbose=True,
        drop_last=False,  # there are 12 images
    )
    cache = loader_yuv.cache
    stats = compute_normalization_stats(cache, image_format="jpeg")
    stats_yuv = compute_normalization_stats(cache, image_format="yuv420")
    mean_diff = np.abs(np.array(stats["mean"]) - np.array(stats_yuv["mean"]))
    std_diff = np.abs(np.array(stats["std"]) - np.array(stats_yuv["std"]))
    assert mean_diff.max() < 0.01
    assert std_diff.max() < 0.01
    loader_yuv.shutdown()

    # Full-res YUV output
    loader_yuv_full = SlipstreamLoader(
        dataset,
        batch_size=8,
        shuffle=False,
        image_format="yuv420",
        pipelines={"image": [DecodeYUVFullRes()]},
        exclude_fields=["path"],
        verbose=False,
    )
    batch = next(iter(loader_yuv_full))
    yuv_images = batch["image"]  # list of [H, W, 3] arrays
    assert len(yuv_images) == 8
    assert yuv_images[0].shape[2] == 3
    assert yuv_images[0].dtype == np.uint8
    loader_yuv_full.shutdown()

    # Raw planes output
    loader_yuv_planes = SlipstreamLoader(
        dataset,
        batch_size=8,
        shuffle=False,
        image_format="yuv420",
        pipelines={"image": [DecodeYUVPlanes()]},
        exclude_fields=["path"],
        verbose=False,
    )
    batch = next(iter(loader_yuv_planes))
    planes = batch["image"]  # list of (Y, U, V) tuples
    y, u, v = planes[0]
    assert y.shape == yuv_images[0].shape[:2]
    assert u.shape == v.shape == ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
    loader_yuv_planes.shutdown()

    import matplotlib.pyplot as plt

    from slipstream import DecodeOnly

    # Get same image as RGB and as YUV full-res
    loader_rgb = SlipstreamLoader(
        dataset,
        batch_size=1,
        shuffle=False,
        image_format="yuv420",
        pipelines={"image": [DecodeOnly()]},
        exclude_fields=["path"],
        verbose=False,
    )
    rgb_batch = next(iter(loader_rgb))
    rgb_img = rgb_batch["image"][0]  # [H, W, 3]
    yuv_img = yuv_images[0]
    fig, axes = plt.subplots(1, 5, figsize=(15, 3))
    axes[0].imshow(rgb_img)
    axes[1].imshow(yuv_img[:, :, 0], cmap="gray")
    axes[2].imshow(yuv_img[:, :, 1], cmap="gray")
    axes[3].imshow(yuv_img[:, :, 2], cmap="gray")
    axes[4].imshow(yuv_img)
    plt.close(fig)
    loader_rgb.shutdown()


def test_round_trip(LITDATA_VAL_PATH: str) -> None:
    """Planes from the cache's files to RGB, and by way of YUV pixels: at most one level apart."""
    import numpy as np

    from slipstream import DecodeOnly, SlipstreamDataset, SlipstreamLoader
    from slipstream.cache import load_yuv420_cache
    from slipstream.decoders.yuv420_decoder import YUV420NumbaBatchDecoder

    def yuv_to_rgb_bt601(yuv: np.ndarray) -> np.ndarray:
        """Convert full-res YUV (BT.601) to RGB."""
        y = yuv[:, :, 0].astype(np.float32)
        u = yuv[:, :, 1].astype(np.float32) - 128.0
        v = yuv[:, :, 2].astype(np.float32) - 128.0
        r = np.clip(y + 1.402 * v, 0, 255).astype(np.uint8)
        g = np.clip(y - 0.344136 * u - 0.714136 * v, 0, 255).astype(np.uint8)
        b = np.clip(y + 1.772 * u, 0, 255).astype(np.uint8)
        return np.stack([r, g, b], axis=-1)

    loader_rgb = SlipstreamLoader(
        SlipstreamDataset(remote_dir=LITDATA_VAL_PATH),
        batch_size=1,
        shuffle=False,
        image_format="yuv420",
        pipelines={"image": [DecodeOnly()]},
        exclude_fields=["path"],
        verbose=False,
    )
    cache = loader_rgb.cache
    # Load raw YUV420 data and decode both ways with the same decoder
    storage = load_yuv420_cache(cache.cache_dir, "image")
    indices = np.arange(8, dtype=np.int64)
    batch_data = storage.load_batch(indices)

    decoder = YUV420NumbaBatchDecoder(num_threads=4)

    rgb_images = decoder.decode_batch(
        batch_data["data"],
        batch_data["sizes"],
        batch_data["heights"],
        batch_data["widths"],
    )
    yuv_images = decoder.decode_batch_yuv_fullres(
        batch_data["data"],
        batch_data["sizes"],
        batch_data["heights"],
        batch_data["widths"],
    )
    for i in range(len(rgb_images)):
        rgb_direct = rgb_images[i]
        rgb_roundtrip = yuv_to_rgb_bt601(yuv_images[i])
        diff = np.abs(rgb_direct.astype(np.int16) - rgb_roundtrip.astype(np.int16))
        assert diff.max() <= 1
    np.testing.assert_array_equal(rgb_images[0], next(iter(loader_rgb))["image"][0])
    decoder.shutdown()

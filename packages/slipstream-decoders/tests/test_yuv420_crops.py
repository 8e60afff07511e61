"""Crops of stored planes: qualities, colours, stages, and what kernels may touch.

One test runs this file as a program, in memory that ends (or begins) at forbidden pages.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import (
    IMAGENET_STD,
    BatchContext,
    Boxes,
    CorruptImageError,
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
    DecodeYUVCenterCrop,
    DecodeYUVFullRes,
    DecodeYUVPlanes,
    DecodeYUVRandomResizedCrop,
    DecodeYUVResizeCrop,
    EncodedBatch,
    Normalize,
    as_yuv420,
    crop_images,
    random_resized_boxes,
    rgb_to_yuv420,
    run_stages,
    whole_image_boxes,
    yuv420_to_rgb,
    yuv420_to_yuv,
)
from slipstream_decoders.boxes.orientation import display

_Pixels = NDArray[np.uint8]
SIZES = [(height, width) for height in (1, 2, 3, 5, 9) for width in (1, 2, 4, 7, 9)]
SIZES += [(40, 63), (63, 64), (65, 140)]


def noise(height: int, width: int, seed: int = 0) -> _Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    coarse = noise(height // 9 + 2, width // 9 + 2, seed)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def planar(sizes: list[tuple[int, int]], orientations: list[int] | None = None) -> EncodedBatch:
    """Noise as planes."""
    payloads = [rgb_to_yuv420(noise(*size, seed)) for seed, size in enumerate(sizes)]
    return EncodedBatch.from_mapping(
        {
            "data": np.concatenate(payloads),
            "sizes": [payload.size for payload in payloads],
            "heights": [size[0] for size in sizes],
            "widths": [size[1] for size in sizes],
            "codecs": [1] * len(sizes),
            "orientations": orientations or [0] * len(sizes),
        }
    )


def pixels_of(batch: EncodedBatch, row: int, *, yuv: bool = False) -> _Pixels:
    payload = np.frombuffer(batch.payload(row), np.uint8)
    convert = yuv420_to_yuv if yuv else yuv420_to_rgb
    return convert(payload, int(batch.heights[row]), int(batch.widths[row]))


def odd_boxes(batch: EncodedBatch) -> Boxes:
    """Crops that begin at odd rows and columns where there are any, of fractional windows."""
    x, y = (batch.widths > 2).astype(np.int32), (batch.heights > 4).astype(np.int32) * 3
    bounds = np.stack([x, y, batch.widths - x, batch.heights - y], axis=1)
    window = bounds.astype(np.float64)
    window[:, 2:] -= 0.25
    return Boxes(window, bounds.astype(np.int32))


def context(num: int, **options: Any) -> BatchContext:
    return BatchContext(np.arange(num, dtype=np.int64), seed=5, **options)


@pytest.mark.parametrize("colors", ["rgb", "yuv"])
def test_exact_crops_equal_pillows(colors: Any) -> None:
    """Pillow's crop and resize of the whole image's pixels, bit for bit, sizes from 1 x 1 on."""
    batch = planar(SIZES)
    for boxes in (whole_image_boxes(batch.heights, batch.widths), odd_boxes(batch)):
        found = crop_images(
            batch, boxes, (17, 12), context(len(batch)), quality="exact", colors=colors
        )
        for row in range(len(batch)):
            x, y, w, h = boxes.bounds[row].tolist()
            image = Image.fromarray(pixels_of(batch, row, yuv=colors == "yuv"))
            expected = image.crop((x, y, x + w, y + h)).resize(
                (12, 17),
                Image.Resampling.BILINEAR,
                box=(0, 0, boxes.window[row, 2], boxes.window[row, 3]),
            )
            np.testing.assert_array_equal(found[row], np.asarray(expected), str(SIZES[row]))


def test_fast_crops_are_those_of_the_jpeg() -> None:
    """The same planes, resized in the same way: the native engine's pixels, bit for bit."""
    payloads = [jpeg(smooth(90 + n, 131 - n, n)) for n in range(6)]
    payloads.append(jpeg(smooth(61, 40).convert("L")))
    batch = EncodedBatch.from_payloads(payloads)
    ids = np.arange(len(batch), dtype=np.int64)
    boxes = random_resized_boxes(
        batch.heights, batch.widths, (0.08, 1.0), (3 / 4, 4 / 3), 9, ids, np.zeros_like(ids)
    )
    expected = crop_images(batch, boxes, (48, 40), context(len(batch)), engine="native")
    planes = as_yuv420(batch, context(len(batch)))
    np.testing.assert_array_equal(
        crop_images(planes, boxes, (48, 40), context(len(batch))), expected
    )


def test_fast_and_exact_crops_of_photos_are_alike(photos: list[Path]) -> None:
    """The law of ``fast``: mean PSNR against Pillow's pixels of the JPEG, mean difference."""
    payloads = [jpeg(Image.open(path).convert("RGB")) for path in photos[::12]]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = DecodeResizeCrop(256, 224).boxes(batch.heights, batch.widths, context(len(batch)))
    planes = as_yuv420(batch, context(len(batch)))
    found = crop_images(planes, boxes, (224, 224), context(len(batch))).astype(float)
    pillow = crop_images(batch, boxes, (224, 224), context(len(batch)), engine="pillow")
    error = ((found - pillow) ** 2).reshape(len(batch), -1).mean(axis=1)
    psnr = 10 * np.log10(255**2 / error)
    assert psnr.mean() >= 48
    assert psnr.min() >= 40
    assert np.abs(found - pillow).mean() <= 0.5


def test_whole_images() -> None:
    """DecodeOnly gives RGB, the YUV stages pixels and planes in their own memory."""
    batch = planar(SIZES)
    rgb, yuv, planes = (
        stage(batch) for stage in (DecodeOnly(), DecodeYUVFullRes(), DecodeYUVPlanes())
    )
    for row, (height, width) in enumerate(SIZES):
        np.testing.assert_array_equal(rgb[row], pixels_of(batch, row))
        np.testing.assert_array_equal(yuv[row], pixels_of(batch, row, yuv=True))
        y, u, v = planes[row]
        np.testing.assert_array_equal(y, yuv[row][..., 0])
        assert y.shape == (height, width)
        assert u.shape == v.shape == ((height + 1) // 2, (width + 1) // 2)
        np.testing.assert_array_equal(u, yuv[row][::2, ::2, 1])
        np.testing.assert_array_equal(v, yuv[row][::2, ::2, 2])
        assert y.flags.writeable


@pytest.mark.parametrize(
    "stage",
    [
        DecodeYUVCenterCrop(24),
        DecodeYUVResizeCrop(32, 24),
        DecodeYUVRandomResizedCrop(24),
        DecodeCenterCrop(24),
        DecodeRandomResizedCrop(24),
    ],
    ids=lambda stage: type(stage).__name__,
)
def test_crop_stages(stage: Any) -> None:
    """Layout and dtype; the same pixels alone and in a batch, on one thread or three."""
    batch = planar([(40, 63), (33, 20), (64, 65), (9, 9), (1, 1)])
    images = stage.apply(batch, context(5, num_threads=3))
    assert images.shape == (5, 3, 24, 24)
    assert images.permute(0, 2, 3, 1).is_contiguous()
    for row in range(5):
        alone = BatchContext(np.array([row]), seed=5, num_threads=1)
        one = stage.apply(batch.take(np.array([row])), alone)
        np.testing.assert_array_equal(images[row], one[0])


def test_yuv_crops_take_jpegs_too() -> None:
    """They bring them to planes first, never read one as the other."""
    batch = EncodedBatch.from_payloads([jpeg(smooth(50, 71)), jpeg(smooth(31, 33), subsampling=0)])
    planes = as_yuv420(batch, context(2))
    for stage in (DecodeYUVCenterCrop(20), DecodeYUVRandomResizedCrop(20), DecodeYUVFullRes()):
        for one, other in zip(
            stage.apply(batch, context(2)), stage.apply(planes, context(2)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    y = DecodeYUVCenterCrop(31).apply(batch, context(2))[1, 0]
    luma = np.asarray(Image.open(io.BytesIO(bytes(batch.payload(1)))).convert("L"))
    assert np.abs(y.numpy().astype(int) - luma[:, 1:32]).mean() < 1


@pytest.mark.parametrize("crop", [DecodeCenterCrop(24), DecodeYUVCenterCrop(24)])
def test_normalised_crops(crop: Any) -> None:
    """Normalize after a crop, fused or not: the same to within one level."""
    batch = planar([(40, 63), (33, 20), (9, 9)])
    normalize = Normalize()
    separate = normalize(crop.apply(batch, context(3)))
    fused = run_stages([crop, normalize], batch, context(3))
    assert fused.shape == separate.shape
    assert fused.dtype == separate.dtype
    assert (fused - separate).abs().max() < 1 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_orientation_is_applied(quality: Any) -> None:
    """Centre crops of turned images are turned centre crops; whole images are turned too."""
    orientations = list(range(1, 9))
    batch = planar([(22, 34)] * 8, orientations)
    stored = DecodeCenterCrop(22, quality=quality).apply(batch, context(8))
    turned = DecodeCenterCrop(22, quality=quality, exif="apply").apply(batch, context(8))
    whole = DecodeOnly(exif="apply").apply(batch, context(8))
    for row, orientation in enumerate(orientations):
        crop = stored[row].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(
            display(crop, orientation), turned[row].permute(1, 2, 0).numpy()
        )
        np.testing.assert_array_equal(whole[row], display(pixels_of(batch, row), orientation))


def test_damaged_payloads_are_named_or_zero() -> None:
    """A payload of the wrong size; the error names it, or its image is zero and the rest is not."""
    batch = planar([(20, 30), (20, 30), (20, 30)])
    sizes = batch.sizes.copy()
    sizes[1] -= 1
    damaged = EncodedBatch(**{**vars(batch), "sizes": sizes})
    for stage in (DecodeCenterCrop(8), DecodeYUVCenterCrop(8), DecodeOnly(), DecodeYUVFullRes()):
        with pytest.raises(CorruptImageError, match="expected 900") as caught:
            stage.apply(damaged, context(3))
        assert caught.value.sample_ids == [1]
        failures: dict[int, str] = {}
        images = stage.apply(damaged, context(3, failures=failures))
        assert "expected 900" in failures[1]
        assert not np.asarray(images[1]).any()
        assert np.asarray(images[0]).any()
        assert np.asarray(images[2]).any()


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_nothing_outside_of_the_buffers_is_touched() -> None:
    """Payloads, outputs and scratch memory next to forbidden pages, in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == "untouched"


class Fence:
    """Memory between two pages that nobody may touch."""

    def __init__(self, *, at_end: bool) -> None:
        self._at_end = at_end
        self._kept: list[mmap.mmap] = []
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def array(self, num_bytes: int) -> _Pixels:
        """Bytes whose last (or first) one is next to a forbidden page."""
        page = mmap.PAGESIZE
        inner = max(-(-num_bytes // page), 1) * page
        memory = mmap.mmap(-1, inner + 2 * page)
        self._kept.append(memory)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for address in (base, base + page + inner):
            assert self._protect(address, page, 0) == 0
        offset = page + (inner - num_bytes if self._at_end else 0)
        return np.frombuffer(memory, np.uint8, num_bytes, offset)


def _touch_everything(fence: Fence, height: int, width: int) -> None:
    """All kernels of this format on one image."""
    from slipstream_decoders._kernels.crops import work_bytes_for
    from slipstream_decoders._kernels.stored import Scratch, crop_run, most_window_bytes
    from slipstream_decoders._kernels.yuv420 import interleave, pack_planes, pack_rgb, payload_bytes
    from slipstream_decoders.views import View, addresses_of, crops_of

    rgb, payload = fence.array(3 * height * width), fence.array(payload_bytes(height, width))
    rgb[:] = noise(height, width).reshape(-1)
    pack_rgb(rgb.ctypes.data, height, width, payload.ctypes.data)
    assert (payload == rgb_to_yuv420(rgb.reshape(height, width, 3))).all()
    for x in range(0, min(width, 6), 2):
        for to_rgb in (True, False):
            out = fence.array(3 * height * (width - x))
            address, target = payload.ctypes.data, out.ctypes.data
            interleave(address, height, width, x, 0, width - x, height, to_rgb, target)
    for ratio_y, ratio_x in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (4, 4), (0, 0)):
        rows = -(-height // ratio_y) if ratio_y else 0
        columns = -(-width // ratio_x) if ratio_x else 0
        chroma = [fence.array(rows * columns) for _ in range(2)]
        blue, red = (plane.ctypes.data for plane in chroma)
        luma, target = fence.array(height * width), payload.ctypes.data
        pack_planes(
            luma.ctypes.data, width, blue, red, columns, ratio_y, ratio_x, height, width, target
        )
    x, y = min(1, width - 1), min(3, height - 1)
    bounds = np.array([[x, y, width - x, height - y]], np.int32)
    boxes, row = Boxes.of_crops(bounds), np.zeros(1, np.int64)
    for codec, memory in ((1, payload), (2, rgb)):
        for mode in range(3):
            out, statuses = fence.array(3 * 19 * 18), np.full(1, 9, np.int32)
            crops = crops_of([View(boxes, (19, 18))], addresses_of(out.reshape(1, 19, 18, 3))[None])
            pixels = fence.array(int(most_window_bytes(crops, row)))
            work = fence.array(int(work_bytes_for(crops, row)))
            crop_run(
                row,
                np.array([memory.ctypes.data]),
                np.array([memory.size]),
                np.array([height], np.int32),
                np.array([width], np.int32),
                np.array([codec], np.uint8),
                mode,
                crops,
                Scratch(pixels.ctypes.data, pixels.nbytes, work.ctypes.data, work.nbytes),
                statuses,
            )
            assert statuses[0] == 0


if __name__ == "__main__":
    for end in (True, False):
        for size in SIZES:
            _touch_everything(Fence(at_end=end), *size)
    sys.stdout.write("untouched\n")

"""Geometry equals torchvision, kornia, scipy or its formula at fixed parameters."""

from __future__ import annotations

import kornia
import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from slipstream_decoders import BatchContext, run_stages
from slipstream_ssl_pipelines import ImageBatchError
from slipstream_ssl_pipelines.transforms import (
    CircularMask,
    FixedOpticalDistortion,
    RandomAffine,
    RandomPatchShuffle,
    RandomRotate,
    RandomRotateObject,
    RandomTranslate,
    RandomZoom,
)

HEIGHT, WIDTH = 28, 36
LINEAR, NEAREST = InterpolationMode.BILINEAR, InterpolationMode.NEAREST


def _images(num: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(num, 3, 7, 9, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    images = images.contiguous(memory_format=torch.channels_last)
    return (images * 255).to(torch.uint8) if dtype == torch.uint8 else images.to(dtype)


def _context(num: int = 4) -> BatchContext:
    return BatchContext(np.arange(num), seed=8)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_affine_is_torchvisions(mode: str) -> None:
    """Rotation, shear, scale and shift together, for each sample its own."""
    stage = RandomAffine(1.0, 60, (0.2, 0.1), (0.7, 1.4), (-20, 20, -10, 10), interpolation=mode)  # type: ignore[arg-type]
    images = _images()
    result = run_stages([stage], images, _context())
    p = {name: value.tolist() for name, value in stage.last_params.items()}
    how = LINEAR if mode == "bilinear" else NEAREST
    for i, image in enumerate(images):
        shift = [int(v) for v in p["shift"][i]]
        expected = tvf.affine(image, p["angle"][i], shift, p["scale"][i], p["shear"][i], how)
        difference = (result[i] - expected).abs()
        assert difference.median() < 1e-5
        assert (difference > 1e-3).float().mean() < (0.001 if mode == "bilinear" else 0.02)


def test_rotation_is_torchvisions() -> None:
    """Counter-clockwise, around any point; a choice of angles chooses them alone."""
    images = _images(40)
    stage = RandomRotate(1.0, x=(0.2, 0.8), y=(0.3, 0.6), angles=[-30.0, 15.0, 90.0])
    result = run_stages([stage], images, _context(40))
    angles, points = stage.last_params["angle"].tolist(), stage.last_params["point"].tolist()
    assert set(angles) == {-30.0, 15.0, 90.0}
    for i in range(5):
        center = [points[i][0] * WIDTH, points[i][1] * HEIGHT]
        expected = tvf.rotate(images[i], angles[i], LINEAR, center=center)
        torch.testing.assert_close(result[i], expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("zoom", [0.5, 0.8, 1.0, 1.7])
def test_zoom_is_kornias(zoom: float) -> None:
    """Zoom 0.5 magnifies twice around the point; the pixels are kornia's warp's."""
    images = _images()
    stage = RandomZoom(1.0, zoom, x=0.3, y=0.6)
    point = torch.tensor([[0.3 * WIDTH - 0.5, 0.6 * HEIGHT - 0.5]]).expand(4, 2)
    matrix = kornia.geometry.get_rotation_matrix2d(
        point, torch.zeros(4), torch.full((4, 2), 1 / zoom)
    )
    expected = kornia.geometry.warp_affine(images, matrix, (HEIGHT, WIDTH), align_corners=True)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # the rim is padded differently
    difference = (stage(images) - expected)[inner].abs()
    assert difference.median() < 1e-5
    assert (difference > 1e-3).float().mean() < 0.05 * (zoom > 1) + 1e-9
    if zoom == 1.0:
        torch.testing.assert_close(stage(images), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("pad", "scipys"), [("zeros", "constant"), ("border", "nearest")])
def test_rotated_object_is_scipys_map(pad: str, scipys: str) -> None:
    """Each output pixel comes from centre + scale * R(angle) (position - destination)."""
    images = _images()
    stage = RandomRotateObject(1.0, 50, (0.3, 0.7), 0.4, (0.6, 2.0), pad_mode=pad)  # type: ignore[arg-type]
    result = run_stages([stage], images, _context())
    p = {name: value.double().numpy() for name, value in stage.last_params.items()}
    size = np.array([WIDTH, HEIGHT])
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for i, image in enumerate(images.numpy()):
        angle = np.deg2rad(p["angle"][i])
        turn = p["scale"][i] * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        offset = np.stack([x, y]) - (p["destination"][i] * size)[:, None, None]
        source = np.einsum("ij,jhw->ihw", turn, offset) + (p["center"][i] * size)[:, None, None]
        at = [source[1] - 0.5, source[0] - 0.5]
        inside = (at[0] > 0) & (at[0] < HEIGHT - 1) & (at[1] > 0) & (at[1] < WIDTH - 1)
        inside = inside if pad == "zeros" else np.ones_like(inside)
        for channel in range(3):
            expected = ndimage.map_coordinates(image[channel], at, order=1, mode=scipys)
            np.testing.assert_allclose(
                result[i, channel].numpy()[inside], expected[inside], atol=1e-3
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_translation_is_a_shifted_slice(dtype: torch.dtype) -> None:
    """Whole pixels to the bit, the rest is the fill; shifts are uniform in both axes."""
    images = _images(300, dtype)
    stage = RandomTranslate(5, fill=1)
    result = run_stages([stage], images, _context(300))
    shifts = stage.last_params["shift"]
    padded = torch.nn.functional.pad(images, (5,) * 4, value=1)
    for i, (x, y) in enumerate(shifts[:20].tolist()):
        assert torch.equal(result[i], padded[i, :, 5 - y : 5 - y + HEIGHT, 5 - x : 5 - x + WIDTH])
    assert torch.equal(stage.by_index(images, stage.last_params), result)
    far = RandomTranslate(100).replay(images, {"shift": torch.tensor([[100, -50]]).expand(300, 2)})
    assert (far == 0).all()
    for axis in range(2):
        assert stats.chisquare((shifts[:, axis] + 5).bincount(minlength=11)).pvalue > 1e-4


def test_masks_follow_their_images() -> None:
    """The same class in another field's pipeline draws the same; nearest keeps the labels."""
    images, masks = _images(), (_images()[:, :1] > 0.5).to(torch.uint8) * 200
    bilinear = run_stages([RandomRotate(1.0)], masks.float() / 255, _context())
    nearest = run_stages([RandomRotate(1.0, interpolation="nearest")], masks, _context())
    assert set(nearest.unique().tolist()) <= {0, 200}
    assert (nearest.float() / 255 - bilinear).abs().mean() < 0.06
    stage = RandomRotate(1.0)
    run_stages([stage], images, _context())
    follow = RandomRotate(interpolation="nearest").replay(masks, stage.last_params)
    assert torch.equal(follow, nearest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_patches_are_shuffled(dtype: torch.dtype) -> None:
    """Each patch of the result is the source patch that the parameters name; sizes are mixed."""
    images = torch.arange(60 * 3 * 24 * 36).reshape(60, 3, 24, 36) % 251
    images = images.to(dtype) / (251 if dtype == torch.float32 else 1)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    stage = RandomPatchShuffle([4, 6, 12], p=1.0)
    result = run_stages([stage], images, _context(60))
    sizes, sources = stage.last_params["size"].tolist(), stage.last_params["source"].tolist()
    assert set(sizes) == {4, 6, 12}
    for i, size in enumerate(sizes):
        across = 36 // size
        count = across * (24 // size)
        assert sorted(sources[i][:count]) == list(range(count))
        for patch in range(count):
            to, of = divmod(patch, across), divmod(sources[i][patch], across)
            a, b = (
                (slice(None), *(slice(k * size, (k + 1) * size) for k in at)) for at in (to, of)
            )
            assert torch.equal(result[i][a], images[i][b])
    with pytest.raises(ImageBatchError, match="do not divide"):
        RandomPatchShuffle(5, p=1.0)(images)


def test_distortion_is_scipys_map() -> None:
    """The written radial model, sampled by scipy; the optical centre may be moved."""
    images = _images()
    size = (22, 30)
    result = FixedOpticalDistortion(size, -0.3, dx=1.5, dy=-2.0)(images)
    assert result.shape == (4, 3, *size)
    y = (np.arange(22) + 0.5 - 11 + 2.0)[:, None] / 22
    x = (np.arange(30) + 0.5 - 15 - 1.5)[None] / 30
    r2 = x**2 + y**2
    factor = 1 - 0.3 * r2 - 0.3 * r2**2
    at_y, at_x = (
        (y * factor - 2.0 / 22 + 0.5) * HEIGHT - 0.5,
        (x * factor + 1.5 / 30 + 0.5) * WIDTH - 0.5,
    )
    for image, made in zip(images.numpy(), result.numpy(), strict=True):
        for channel in range(3):
            expected = ndimage.map_coordinates(
                image[channel], [at_y, at_x], order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(made[channel], expected, atol=1e-4)


def test_circular_mask() -> None:
    """One in the middle, ``tol`` at the inscribed circle, falling outwards; sizes are checked."""
    mask = CircularMask(64, blur_span=8, tol=1e-3)(torch.ones(1, 1, 64, 64))[0, 0]
    assert mask[32, 32] > 0.999999
    row = mask[32, 32:].double().numpy()
    radii = np.hypot(np.arange(32) + 0.5, 0.5)
    slope = 2 * np.log(999) / 8  # 1e-3 at 32 pixels, 1 - 1e-3 at 24
    np.testing.assert_allclose(row, 1 / (1 + np.exp(slope * (radii - 28))), atol=1e-6)
    assert mask[0, 0] < 1e-6
    assert (mask[32, 32:].diff() <= 0).all()
    torch.testing.assert_close(mask, mask.flip(0).T)
    with pytest.raises(ImageBatchError, match="size 64"):
        CircularMask(64)(torch.ones(1, 3, 32, 32))


def test_geometric_parameters_follow_their_laws() -> None:
    """Uniform angles, zooms, points, shifts."""
    images = torch.zeros(3000, 1, 10, 10)
    context = BatchContext(np.arange(3000), seed=2)
    stage = RandomRotateObject(1.0, 30, (0.1, 0.4), 0.5, (1, 2))
    run_stages([stage], images, context)
    p = stage.last_params
    draws = {
        (-30, 60): p["angle"],
        (1, 1): p["scale"],
        (0.1, 0.3): p["center"][:, 0],
        (0.25, 0.5): p["destination"][:, 1],
    }
    for law, values in draws.items():
        assert stats.kstest(values.numpy(), stats.uniform(*law).cdf).pvalue > 1e-4
    assert (p["center"][:, 1] == 0.5).all()

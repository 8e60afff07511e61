"""Canvases, noise, colour spaces, conversions."""

from __future__ import annotations

import kornia
import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, BatchContext, Stage, run_stages
from slipstream_ssl_pipelines import ImageBatchError
from slipstream_ssl_pipelines.functional import vision
from slipstream_ssl_pipelines.functional.noise import power_law_noise
from slipstream_ssl_pipelines.transforms import (
    Convert,
    LMSToKonio,
    LMSToMagno,
    LMSToParvo,
    NormalizeLGN,
    RandomBackgroundBlend,
    RandomEmbed,
    RGBToLGN,
    RGBToMagno,
    Squeeze,
    SRGBToLMS,
    ToChannelsFirst,
    ToChannelsLast,
    ToDevice,
    ToFloat,
    ToFloatDiv,
    ToNumpy,
    View,
)


def _images(num: int = 6, channels: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    images = torch.rand(num, channels, size, size, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def _context(num: int) -> BatchContext:
    return BatchContext(np.arange(num), seed=8)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, 3.0])
def test_noise_has_its_spectrum(alpha: float) -> None:
    """The slope of log power over log frequency is -alpha; mean 0, deviation 1, independent."""
    size = 64
    noise = power_law_noise(torch.arange(24), torch.full((24,), alpha), (3, size, size))
    power = torch.fft.fft2(noise).abs().square().mean((0, 1)).numpy()
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    band = (f > 0) & (f < 0.5)
    slope = stats.linregress(np.log(f[band]), np.log(power[band])).slope
    assert abs(slope + alpha) < 0.05
    torch.testing.assert_close(
        noise.std((2, 3), correction=0), torch.ones(24, 3), atol=1e-4, rtol=0
    )
    flat = noise[:8].flatten(0, 1).flatten(1).double()
    others = torch.corrcoef(flat) - torch.eye(24)
    assert others.abs().max() < (0.1 if alpha < 1 else 0.95)
    alone = power_law_noise(torch.tensor([7]), torch.tensor([alpha]), (3, size, size))
    torch.testing.assert_close(alone[0], noise[7], atol=1e-4, rtol=0)


def test_embedding_is_slicing() -> None:
    """The image lies where its centre was put, cut at the canvas; the rest is the fill."""
    images = _images(40)
    stage = RandomEmbed(64, (-0.1, 1.1), (0.2, 0.8), background="constant", fill=(0.1, 0.2, 0.3))
    result = run_stages([stage], images, _context(40))
    assert result.shape == (40, 3, 64, 64)
    for i, (x, y) in enumerate(stage.last_params["center"].tolist()):
        left, top = int(np.floor(x - 16 + 0.5)), int(np.floor(y - 16 + 0.5))
        wide = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1).repeat(1, 192, 192)
        wide[:, 64 + top : 96 + top, 64 + left : 96 + left] = images[i]
        torch.testing.assert_close(result[i], wide[:, 64:128, 64:128])
    given = RandomEmbed(64, coords=[(10, 20), (50, 5)])
    run_stages([given], images, _context(40))
    assert {tuple(c) for c in given.last_params["center"].tolist()} == {(10.0, 20.0), (50.0, 5.0)}


def test_embedding_keeps_transparency_and_rim() -> None:
    """RGBA shows the background where it is transparent; the rim fades to it."""
    images = _images(8, channels=4)
    images[:, 3] = 0
    images[:, 3, 8:24, 8:24] = 1
    noise = RandomEmbed(48, background="power_law", alpha_range=(1, 2))
    made = run_stages([noise], images, _context(8))
    behind = noise.behind(images, (48, 48), noise.last_params)
    assert torch.equal(made[:, :, :16], behind[:, :, :16])
    torch.testing.assert_close(made[:, :, 16:32, 16:32], images[:, :3, 8:24, 8:24])
    gray = RandomEmbed(48, background="power_law", color_noise=False)
    made = run_stages([gray], images, _context(8))
    unscaled = [(made[:, c, :16] - IMAGENET_MEAN[c]) / IMAGENET_STD[c] for c in range(3)]
    inside = (made[:, :, :16] > 0).all(1) & (made[:, :, :16] < 1).all(1)
    torch.testing.assert_close(unscaled[0][inside], unscaled[2][inside], atol=1e-4, rtol=0)
    soft = RandomEmbed(32, fade_radius=6, p_fade=0.5)
    faded = run_stages([soft], torch.ones(40, 3, 32, 32), _context(40))
    fade = soft.last_params["fade"] == 1
    assert 8 < fade.sum() < 32
    assert (faded[~fade] == 1).all()
    assert (faded[fade][:, :, 0, 0] == 0).all()
    assert (faded[fade][:, :, 16, 16] == 1).all()


@pytest.mark.parametrize("mode", ["circular", "cosine"])
def test_background_blend(mode: str) -> None:
    """Opacity times rim blends image and background; without background it is black."""
    images = _images(40, channels=4)
    stage = RandomBackgroundBlend(
        fade_mode=mode, fade_radius=5, inset=2, p_fade=0.6, p_background=0.7, noise_scale=0.5
    )  # type: ignore[arg-type]
    result = run_stages([stage], images, _context(40))
    p = stage.last_params
    y, x = np.mgrid[:32, :32] + 0.5 - 16
    ramp = np.clip((14 - np.hypot(x, y)) / 5, 0, 1)
    rim = torch.from_numpy(ramp if mode == "circular" else 0.5 - 0.5 * np.cos(np.pi * ramp)).float()
    rims = torch.where(p["fade"].view(-1, 1, 1, 1) == 1, rim, 1.0)
    opacity = images[:, 3:] * rims
    field = power_law_noise(p["noise"], p["alpha"], (3, 32, 32))
    std, mean = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_STD, IMAGENET_MEAN))
    behind = (field * 0.5 * std + mean).clamp(0, 1) * p["with_background"].view(-1, 1, 1, 1)
    torch.testing.assert_close(
        result, images[:, :3] * opacity + behind * (1 - opacity), atol=1e-5, rtol=0
    )
    with pytest.raises(ImageBatchError, match="3 or 4 channels"):
        stage(torch.zeros(2, 1, 8, 8))


def test_cones_and_cells() -> None:
    """sRGB to linear equals kornia's, CAT02 maps white to equal responses, cells are differences
    of scipy's Gaussians."""
    images = _images(2)
    linear = vision.srgb_to_linear(images)
    torch.testing.assert_close(linear, kornia.color.rgb_to_linear_rgb(images), atol=1e-5, rtol=0)
    xyz = kornia.color.rgb_to_xyz(linear)
    lms = SRGBToLMS()(images)
    expected = torch.einsum("ij,bjhw->bihw", torch.tensor(vision.XYZ_TO_LMS), xyz)
    torch.testing.assert_close(lms, expected, atol=1e-4, rtol=0)
    white = SRGBToLMS()(torch.ones(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(white, torch.tensor([0.949, 1.035, 1.087]), atol=2e-3, rtol=0)

    def smooth(plane: np.ndarray, sigma: float) -> np.ndarray:
        return ndimage.gaussian_filter(plane, sigma, mode="mirror", radius=int(np.ceil(3 * sigma)))

    long, middle, short = lms[0].double().numpy()
    light = (long + middle) / 2
    cells = [
        smooth(long, 1.5) - smooth(middle, 5),
        smooth(middle, 1.5) - smooth(long, 5),
        smooth(light, 2.5) - smooth(light, 5),
        smooth(light, 5) - smooth(light, 2.5),
        smooth(short, 2.5) - smooth(light, 6.5),
    ]
    lgn = RGBToLGN()(images)
    np.testing.assert_allclose(lgn[0].numpy(), np.maximum(cells, 0), atol=1e-4)
    parts = [LMSToParvo()(lms), LMSToMagno()(lms), LMSToKonio()(lms)]
    torch.testing.assert_close(torch.cat(parts, 1), lgn)
    torch.testing.assert_close(RGBToMagno()(images), parts[1])
    torch.testing.assert_close(NormalizeLGN()(lgn), (lgn - 0.2) / 0.2)
    with pytest.raises(ImageBatchError, match="ToTorchImage"):
        RGBToLGN()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (ToFloat(), lambda x: x.float() / 255),
        (ToFloat(2), lambda x: x.float() / 2),
        (ToFloatDiv(10, torch.float64), lambda x: x.double() / 10),
        (Convert(torch.int16), lambda x: x.to(torch.int16)),
        (ToChannelsLast(), lambda x: x.permute(0, 2, 3, 1)),
        (ToChannelsFirst(), lambda x: x.permute(0, 3, 1, 2)),
        (View(torch.int8), lambda x: x.view(torch.int8)),
        (ToDevice("cpu"), lambda x: x),
        (Squeeze(1), lambda x: x.squeeze(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_conversions(stage: Stage, expected) -> None:  # type: ignore[no-untyped-def]
    """Each is the torch expression, on tensors, arrays and lists."""
    images = torch.arange(2 * 1 * 4 * 5, dtype=torch.uint8).view(2, 1, 4, 5)
    assert torch.equal(stage(images), expected(images))
    assert torch.equal(stage([images.numpy()])[0], expected(images))
    assert isinstance(ToNumpy()(images), np.ndarray)

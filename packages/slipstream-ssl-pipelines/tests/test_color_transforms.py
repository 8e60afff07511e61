"""Colour and tone equal torchvision at fixed parameters; parameters follow their laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torchvision.transforms.v2 import functional as tvf

from slipstream_decoders import BatchContext, Stage, run_stages
from slipstream_ssl_pipelines.functional import color, tone
from slipstream_ssl_pipelines.transforms import (
    ColorJitter,
    RandomBrightness,
    RandomColorJitter,
    RandomColorJitterYIQ,
    RandomContrast,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHue,
    RandomPosterize,
    RandomSaturation,
    RandomSolarization,
    ToGrayscale,
)

NUM, SIZE = 6, 24
FACTORS = torch.tensor([0.0, 0.3, 1.0, 1.7, 0.9, 2.5])
F = FACTORS.tolist()
HUES = torch.tensor([-0.5, -0.3, 0.0, 0.1, 0.33, 0.5])


def _bytes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (NUM, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    images[:, :, :8, :8] = images[:, :1, :8, :8]  # gray, where hue has no meaning
    images[:, :, 8:12] = 0
    images[:, :, 12:14] = 255
    return images.contiguous(memory_format=torch.channels_last)


def _each(function: Callable[[torch.Tensor, int], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return torch.stack([function(image.contiguous(), row) for row, image in enumerate(x)])


CASES: list[tuple[Stage, dict[str, torch.Tensor], Callable[[torch.Tensor, int], torch.Tensor]]] = [
    (RandomBrightness(), {"factor": FACTORS}, lambda x, i: tvf.adjust_brightness(x, F[i])),
    (RandomContrast(), {"factor": FACTORS}, lambda x, i: tvf.adjust_contrast(x, F[i])),
    (RandomSaturation(), {"factor": FACTORS}, lambda x, i: tvf.adjust_saturation(x, F[i])),
    (RandomHue(), {"hue": HUES}, lambda x, i: tvf.adjust_hue(x, float(HUES[i]))),
    (RandomGrayscale(), {}, lambda x, i: tvf.rgb_to_grayscale(x, 3)),
    (ToGrayscale(3), {}, lambda x, i: tvf.rgb_to_grayscale(x, 3)),
    (RandomSolarization(), {"threshold": FACTORS.clamp(max=1)}, lambda x, i: tvf.solarize(
        x, float(FACTORS[i].clamp(max=1)) * (255 if x.dtype == torch.uint8 else 1))),
    (RandomPosterize(), {"bits": torch.tensor([1, 2, 3, 5, 7, 8])}, lambda x, i: tvf.posterize(
        x, [1, 2, 3, 5, 7, 8][i])),
    (RandomGaussianBlur(kernel_size=9), {"sigma": FACTORS + 0.2}, lambda x, i: tvf.gaussian_blur(
        x, [9, 9], [float(FACTORS[i]) + 0.2] * 2)),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "params", "expected"), CASES, ids=lambda c: type(c).__name__)
def test_equal_to_torchvision_on_floats(stage, params, expected) -> None:  # type: ignore[no-untyped-def]
    """Within 2e-5 of torchvision's float result, for channels_last and planar input."""
    images = _bytes() / 255
    reference = _each(expected, images)
    for order in (images, images.contiguous()):
        torch.testing.assert_close(stage.replay(order, params), reference, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("stage", "params", "expected"), CASES, ids=lambda c: type(c).__name__)
def test_bytes_are_rounded_floats(stage, params, expected) -> None:  # type: ignore[no-untyped-def]
    """On bytes: within one level of torchvision on bytes (which cuts off), unless it works on
    whole numbers earlier; always the float result, rounded to the nearest."""
    images = _bytes()
    result = stage.replay(images, params).int()
    assert (result - _each(expected, images).int()).abs().max() <= 2
    if not isinstance(stage, RandomPosterize):
        floats = _each(expected, images / 255) * 255
        assert (result - floats).abs().max() <= 0.5 + 1e-2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("stage", "params", "expected"), CASES, ids=lambda c: type(c).__name__)
def test_half_types_are_float32_rounded_once(stage, params, expected, dtype) -> None:  # type: ignore[no-untyped-def]
    """Arithmetic is in float32: the result is within one rounding of the float32 one."""
    images = (_bytes() / 255).to(dtype)
    wide = stage.replay(images.float(), params)
    result = stage.replay(images, params)
    if not isinstance(stage, (RandomSolarization, RandomPosterize)):
        assert torch.equal(result, wide.to(dtype))
    else:
        assert ((result.float() - wide).abs() > torch.finfo(dtype).eps).float().mean() < 0.01


def test_jitter_is_its_steps_in_order() -> None:
    """Brightness, contrast, saturation, hue: torchvision's functions one after another."""
    images = _bytes() / 255
    stage = RandomColorJitter(1.0, hue=0.2, saturation=0.4, value=0.4, contrast=(0.5, 1.2))
    result = stage(images)
    p = {name: value.tolist() for name, value in stage.last_params.items()}

    def reference(x: torch.Tensor, i: int) -> torch.Tensor:
        x = tvf.adjust_contrast(tvf.adjust_brightness(x, p["value"][i]), p["contrast"][i])
        return tvf.adjust_hue(tvf.adjust_saturation(x, p["saturation"][i]), p["hue"][i])

    torch.testing.assert_close(result, _each(reference, images), atol=5e-5, rtol=0)
    assert torch.equal(ColorJitter()(images), images)


def test_yiq_jitter_is_its_matrix() -> None:
    """The written formula, in double precision, clipped."""
    images = _bytes() / 255
    stage = RandomColorJitterYIQ(1.0, 180, 0.9, 0.3, 0.2, 0.5)
    result = stage(images)
    p = {name: value.double().numpy() for name, value in stage.last_params.items()}
    to_yiq = np.array(color.RGB_TO_YIQ)
    for i, image in enumerate(images.double().numpy()):
        angle, s = np.deg2rad(p["hue"][i]), p["saturation"][i]
        turn = np.eye(3)
        turn[1:, 1:] = s * np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        pixels = np.einsum("ij,jhw->ihw", np.linalg.inv(to_yiq) @ turn @ to_yiq, image)
        expected = p["brightness"][i] * ((p["value"][i] * pixels - 0.5) * p["contrast"][i] + 0.5)
        np.testing.assert_allclose(result[i].numpy(), np.clip(expected, 0, 1), atol=1e-5)


def test_blur_is_scipys_gaussian() -> None:
    """Away from the cut of the kernel: scipy's filter with mirrored borders."""
    images = _bytes() / 255
    sigmas = torch.linspace(0.3, 1.5, NUM)
    result = RandomGaussianBlur(1.0, 13).replay(images, {"sigma": sigmas})
    for image, sigma, blurred in zip(images.numpy(), sigmas.tolist(), result.numpy(), strict=True):
        expected = ndimage.gaussian_filter(
            image, (0, sigma, sigma), mode="mirror", radius=(0, 6, 6)
        )
        np.testing.assert_allclose(blurred, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "adjust_sharpness"])
def test_tone_functions(name: str) -> None:
    """Autocontrast, equalize and sharpness equal torchvision's, constant channels included."""
    images = _bytes() / 255
    images[0, 0] = 0.3
    smooth = torch.nn.functional.interpolate(images[:, :, :5, 18:23], size=SIZE, mode="bilinear")
    more = ([0.7],) if name == "adjust_sharpness" else ()
    for batch in (images, smooth):
        factors = [torch.full((NUM,), 0.7)] if more else []
        result = getattr(tone, name)(batch, *factors)
        expected = getattr(tvf, name)(batch.contiguous(), *(m[0] for m in more))
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    if name == "equalize":
        assert torch.equal(tone.equalize(_bytes()), tvf.equalize(_bytes()))


def test_parameters_follow_their_laws() -> None:
    """Uniform factors, hues and sigmas; discrete sigmas and bits; the frequency of ``p``."""
    ids, images = np.arange(4000), torch.zeros(4000, 3, 1, 1)
    context = BatchContext(ids, seed=3)
    jitter = RandomColorJitter(0.8, hue=0.1, saturation=0.4, value=0.4, contrast=1.5)
    run_stages([jitter], images, context)
    params = jitter.last_params
    laws = {"hue": (-0.1, 0.2), "saturation": (0.6, 0.8), "value": (0.6, 0.8), "contrast": (0, 2.5)}
    for name, law in laws.items():
        assert stats.kstest(params[name].numpy(), stats.uniform(*law).cdf).pvalue > 1e-4
    assert abs(params["applied"].double().mean() - 0.8) < 5 * np.sqrt(0.16 / 4000)
    blur = RandomGaussianBlur(kernel_size=1, num_sigmas=10)
    run_stages([blur], images, context)
    values, counts = blur.last_params["sigma"].unique(return_counts=True)
    np.testing.assert_allclose(values, np.linspace(0.1, 2, 10), rtol=1e-6)
    assert stats.chisquare(counts).pvalue > 1e-4
    posterize = RandomPosterize(bits=(2, 6))
    run_stages([posterize], images, context)
    assert stats.chisquare(posterize.last_params["bits"].bincount()[2:]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomBrightness(1.5), "probability"),
        (lambda: RandomBrightness(scale_range=(1.0, 0.5)), "lowest <= highest"),
        (lambda: RandomHue(hue=0.6), "within -0.5 and 0.5"),
        (lambda: RandomColorJitter(saturation=-1), "negative"),
        (lambda: RandomGaussianBlur(kernel_size=6), "odd"),
        (lambda: RandomSolarization(threshold=2.0), r"\[0, 1\]"),
        (lambda: RandomPosterize(bits=9), r"\[1, 8\]"),
        (lambda: ToGrayscale(2), "1 or 3"),
    ],
)
def test_bad_options_are_refused(make: Callable[[], Stage], message: str) -> None:
    """At construction, with the option's name or bounds."""
    with pytest.raises(ValueError, match=message):
        make()

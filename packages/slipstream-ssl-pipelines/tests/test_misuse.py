"""What transforms refuse: other channels, parameters of other batches, labels of some samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from slipstream_decoders import BatchContext, run_stages
from slipstream_ssl_pipelines import ImageBatchError, ReplayError, describe, simclr
from slipstream_ssl_pipelines.transforms import (
    BlockMasks,
    Compose,
    ImageTransform,
    Mixup,
    MultiSample,
    ParamsAsLabels,
    RandAugment,
    RandomApply,
    RandomBackgroundBlend,
    RandomBrightness,
    RandomChoice,
    RandomColorJitter,
    RandomColorJitterYIQ,
    RandomContrast,
    RandomEmbed,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomHue,
    RandomPosterize,
    RandomRotate,
    RandomSaturation,
    RandomSolarization,
    ReplayableStage,
    RGBToLGN,
    ThreeAugment,
    ToGrayscale,
    TrivialAugment,
)

COLOUR = [
    ToGrayscale(),
    RandomGrayscale(1.0),
    RandomSaturation(),
    RandomHue(1.0),
    RandomColorJitter(1.0, 0.1),
    RandomColorJitterYIQ(1.0, 30),
    RandAugment(),
    TrivialAugment(),
    RGBToLGN(),
    RandomBackgroundBlend(),
]
LEVELS = [RandomBrightness(), RandomContrast(), RandomSolarization(1.0), RandomPosterize(1.0)]


def _images(channels: int = 3, num: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num, channels, 24, 24, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def _context(num: int = 8) -> BatchContext:
    return BatchContext(np.arange(num), seed=1)


@pytest.mark.parametrize("stage", [*COLOUR, *LEVELS], ids=lambda stage: type(stage).__name__)
def test_colours_are_those_of_rgb(stage: ImageTransform) -> None:
    """RGBA is refused, so that opacity is no colour; gray too, by what mixes channels."""
    background = isinstance(stage, RandomBackgroundBlend)
    refused = [2] if stage in LEVELS else [1, 2] if background else [1, 2, 4]
    for channels in (*refused, *([4] if stage in LEVELS else [])):
        with pytest.raises(ImageBatchError, match=f"channels, got {channels}"):
            stage(_images(channels))
    if stage in LEVELS:
        assert stage(_images(1)).shape == (8, 1, 24, 24)


@pytest.mark.parametrize(
    "stage",
    [RandAugment(), RandomGrayscale(), RandomEmbed(30), RandomHorizontalFlip()],
    ids=lambda stage: type(stage).__name__,
)
def test_parameters_of_another_batch_are_refused(stage: ImageTransform) -> None:
    """Whatever the transform: those of eight samples are not applied to three or nine."""
    stage(_images())
    for num in (3, 9):
        with pytest.raises(ReplayError, match=f"of 8 samples do not fit a batch of {num}"):
            stage.replay(_images(num=num))
    mixup = Mixup(num_classes=2)
    mixup({"image": _images(), "label": torch.zeros(8, dtype=torch.int64)})
    with pytest.raises(ReplayError, match="of 8 samples"):
        mixup.replay({"image": _images(num=3), "label": torch.zeros(3, dtype=torch.int64)})


@pytest.mark.parametrize("inner", [ParamsAsLabels(RandomGaussianBlur(1.0), "b"), BlockMasks(8)])
def test_labels_of_some_samples_are_refused(inner: ReplayableStage) -> None:
    """A batch has a row for each sample, so stages that run on some of them cannot add to it."""
    for outer in (RandomApply(inner, 0.5), RandomApply(inner, 1.0), RandomChoice([inner])):
        context = _context()
        with pytest.raises(ImageBatchError, match="some samples only"):
            run_stages([outer], _images(), context)
        assert not context.labels
    context = _context()
    run_stages([ParamsAsLabels(RandomApply(RandomGaussianBlur(1.0)), "all")], _images(), context)
    assert len(context.labels["all"]["applied"]) == 8


def test_labels_of_copies_have_their_names() -> None:
    """Outside of a view a copy's name stands alone; inside it follows the view's."""
    stage = MultiSample([ParamsAsLabels(RandomHue(1.0), "h")], 2)
    for view, names in (("", ["copy_0_h", "copy_1_h"]), ("v", ["v/copy_0_h", "v/copy_1_h"])):
        context = _context().in_view(view)
        run_stages([Compose(stage)], _images(), context)
        assert list(context.labels) == names


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_backgrounds_may_be_whole_numbers(dtype: torch.dtype) -> None:
    """White as 1 is white as 1.0."""
    images = torch.zeros(2, 3, 8, 8, dtype=dtype)
    for stage in (RandomEmbed, RandomBackgroundBlend):
        size = {"canvas_size": 12} if stage is RandomEmbed else {}
        one, other = (
            stage(**size, background="constant", fill=fill, seed=1)(images)  # type: ignore[arg-type]
            for fill in (1, (1.0, 1.0, 1.0))
        )
        assert torch.equal(one, other)
        if stage is RandomEmbed:
            assert one.max() == (255 if dtype == torch.uint8 else 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomChoice([]), "at least one"),
        (lambda: RandomGaussianBlur(num_sigmas=0), "num_sigmas"),
        (lambda: RandomRotate(angles=[]), "angles"),
        (lambda: RandomEmbed(8, coords=[]), "coords"),
    ],
)
def test_empty_choices_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    """Not in the first batch of a run."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_made_preset_takes_no_options() -> None:
    """``describe`` does not pass over what it cannot use."""
    with pytest.raises(TypeError, match="local_crops"):
        describe(simclr(32), local_crops=2)


def test_the_parts_of_three_augment_are_checked() -> None:
    """By the part that refuses."""
    with pytest.raises(ImageBatchError, match="channels, got 4"):
        ThreeAugment()(_images(4, num=64))

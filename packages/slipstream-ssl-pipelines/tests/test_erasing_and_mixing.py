"""Erasing, Cutout, Mixup, CutMix, RandAugment, choices, labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from slipstream_decoders import BatchContext, run_stages
from slipstream_ssl_pipelines import ImageBatchError
from slipstream_ssl_pipelines.functional.noise import (
    NORMAL,
    UNIFORM,
    noise_at,
    noise_sequence,
    random_words,
)
from slipstream_ssl_pipelines.transforms import (
    Cutout,
    Mixup,
    Poison,
    RandAugment,
    RandomChoice,
    RandomErasing,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    ReplaceLabel,
    ThreeAugment,
    ToGrayscale,
    ToOneHot,
    TrivialAugment,
    mixup_target,
    one_hot,
)
from slipstream_ssl_pipelines.transforms.mixup import mixed

SIZE = 24


def _images(num: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (num, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    return images if dtype == torch.uint8 else (images / 255).to(dtype)


def _context(num: int) -> BatchContext:
    return BatchContext(np.arange(num), seed=8)


def test_noise_words_are_splitmix64() -> None:
    """The published first outputs for seed 1234567, and both forms of normal noise agree."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    words = random_words(torch.tensor(1234567), torch.arange(3)).tolist()
    assert [word % 2**64 for word in words] == expected
    seeds = torch.tensor([3, -9])
    for quantiles, law in ((NORMAL, stats.norm), (UNIFORM, stats.uniform)):
        whole = noise_at(seeds[:, None], torch.arange(5001), quantiles)
        assert torch.equal(noise_sequence(seeds, 5001, quantiles), whole)
        assert stats.kstest(whole.flatten().numpy(), law.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(whole[0, :-1], whole[0, 1:])[0, 1]) < 5 / math.sqrt(5000)


@pytest.mark.parametrize("mode", ["random_color_pixel", "random_color_uniform", "zeros"])
@pytest.mark.parametrize("fill", ["randn", "uniform"])
def test_erasing_fills_its_box(mode: str, fill: str) -> None:
    """Only the box changes, by noise of its own seed; both ways to fill it agree."""
    stage = RandomErasing(0.7, mode=mode, fill=fill)  # type: ignore[arg-type]
    images = _images(40)
    result = run_stages([stage], images, _context(40))
    params = stage.last_params
    for i, (top, left, height, width) in enumerate(params["box"].tolist()):
        box = (i, slice(None), slice(top, top + height), slice(left, left + width))
        rest = torch.ones(3, SIZE, SIZE, dtype=torch.bool)
        rest[box[1:]] = not params["applied"][i]
        assert torch.equal(result[i][rest], images[i][rest])
        if params["applied"][i] and mode == "zeros":
            assert (result[box] == 0).all()
        if params["applied"][i] and mode == "random_color_uniform":
            assert (result[box].flatten(1).std(1) < 1e-6).all()
    masked = stage.by_mask(images, params)
    masked = torch.where(params["applied"][:, None, None, None], masked, images)
    torch.testing.assert_close(result, masked, atol=1e-5, rtol=0)


def test_erasing_box_law_is_torchvisions() -> None:
    """Two-sample Kolmogorov-Smirnov of heights, widths and places against torchvision's draws."""
    num, size = 3000, 64
    stage = RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3), mode="zeros")
    run_stages([stage], torch.zeros(num, 1, size, size), _context(num))
    ours = stage.last_params["box"][:, [2, 3, 0, 1]].numpy()
    torch.manual_seed(0)
    theirs = v2.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3))
    image = torch.zeros(1, size, size)
    drawn = [theirs.make_params([image]) for _ in range(num)]
    for column, name in enumerate("hwij"):
        values = [p[name] for p in drawn]
        assert stats.ks_2samp(ours[:, column], values).pvalue > 1e-4


def test_cutout() -> None:
    """A square of the fill, uniform over all places; bytes too."""
    stage, images = Cutout(7, fill=9), _images(400, torch.uint8)
    result = run_stages([stage], images, _context(400))
    box = stage.last_params["box"]
    for i, (top, left, height, width) in enumerate(box[:20].tolist()):
        assert (height, width) == (7, 7)
        expected = images[i].clone()
        expected[:, top : top + 7, left : left + 7] = 9
        assert torch.equal(result[i], expected)
    for axis in range(2):
        assert stats.chisquare(box[:, axis].bincount(minlength=SIZE - 6)).pvalue > 1e-4


@pytest.mark.parametrize("num", [1, 2, 7, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float16])
def test_mixup_is_its_formula(num: int, dtype: torch.dtype) -> None:
    """Images and labels, for even and odd batches, in any type; the input is not changed."""
    images, labels = _images(num, dtype), torch.arange(num) % 5
    before = images.clone()
    stage = Mixup(num_classes=5, label_smoothing=0.1)
    batch = run_stages(
        [stage], {"image": images, "label": labels, "path": ["x"] * num}, _context(num)
    )
    lam, box = stage.last_params["lam"].tolist(), stage.last_params["box"].tolist()
    scale = 255 if dtype == torch.uint8 else 1
    for i in range(num):
        own, other = images[i].float() / scale, images[num - 1 - i].float() / scale
        top, left, bottom, right = box[i]
        expected = own.clone()
        if bottom > top:
            expected[:, top:bottom, left:right] = other[:, top:bottom, left:right]
            assert lam[i] == pytest.approx(1 - (bottom - top) * (right - left) / SIZE**2)
        else:
            expected = own * lam[i] + other * (1 - lam[i])
        tolerance = {torch.uint8: 0.51 / 255, torch.float16: 1e-3, torch.float32: 1e-6}[dtype]
        torch.testing.assert_close(
            batch["image"][i].float() / scale, expected, atol=tolerance, rtol=0
        )
    hot = torch.nn.functional.one_hot(labels, 5) * 0.9 + 0.02
    share = torch.tensor(lam)[:, None]
    torch.testing.assert_close(batch["label"], hot * share + hot.flip(0) * (1 - share))
    assert batch["label"].sum(1).allclose(torch.ones(num))
    assert torch.equal(images, before)
    assert batch["path"] == ["x"] * num
    again = stage.replay({"image": images, "label": labels})
    assert torch.equal(again["image"], batch["image"])


def test_mixup_laws() -> None:
    """Shares are Beta, boxes have the share's area, kinds and ``prob`` have their frequency."""
    num = 4000
    context = _context(num)
    blend = Mixup(0.4, 0.0, prob=0.9).draw(context, 32, 32)
    assert (blend["box"] == 0).all()
    mixed_ones = blend["lam"] < 1
    assert abs(mixed_ones.double().mean() - 0.9) < 5 * math.sqrt(0.09 / num)
    assert stats.kstest(blend["lam"][mixed_ones].numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-4
    cut = Mixup(0.0, 1.0, correct_lam=False).draw(context, 224, 224)
    assert stats.kstest(cut["lam"].numpy(), stats.uniform.cdf).pvalue > 1e-4
    height, width = (cut["box"][:, 2:] - cut["box"][:, :2]).T
    assert (height <= (224 * (1 - cut["lam"]).sqrt() + 1e-3)).all()
    assert (cut["box"] >= 0).all()
    assert (cut["box"] <= 224).all()
    both = Mixup(switch_prob=0.3).draw(context, 224, 224)
    is_cut = (both["box"][:, 2] > both["box"][:, 0]).double().mean()
    assert abs(is_cut - 0.3) < 5 * math.sqrt(0.21 / num) + 0.02  # tiny boxes are empty
    sides = Mixup(cutmix_minmax=(0.25, 0.5), switch_prob=1.0).draw(context, 64, 64)["box"]
    assert ((sides[:, 2] - sides[:, 0]).unique() == torch.arange(16, 32)).all()
    assert width.max() <= 224


def test_mixup_refuses_what_it_cannot_mix() -> None:
    """Missing images, labels out of range, no kind of mixing."""
    with pytest.raises(ImageBatchError, match="no images"):
        Mixup()({"label": torch.zeros(2, dtype=torch.int64)})
    with pytest.raises(ImageBatchError, match="num_classes is 3"):
        one_hot(torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match="must be positive"):
        Mixup(0.0, 0.0)
    soft = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    lam = torch.tensor([0.5, 1.0])
    assert torch.equal(mixup_target(soft, 2, lam), torch.tensor([[0.6, 0.4], [1.0, 0.0]]))
    assert mixed(_images(0), {"lam": torch.ones(0), "box": torch.zeros(0, 4)}).shape[0] == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float64, torch.float16])
def test_mixup_takes_rows_of_labels_in_any_type(dtype: torch.dtype) -> None:
    """Targets are float32 shares of the rows; rows of another width are refused."""
    rows, lam = torch.tensor([[1, 0], [0, 1]]).to(dtype), torch.tensor([0.75, 0.5])
    target = mixup_target(rows, 2, lam)
    assert target.dtype == torch.float32
    assert torch.equal(target, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    with pytest.raises(ImageBatchError, match="num_classes is 3"):
        mixup_target(rows, 3, lam)


_AFFINE = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}


def _torchvision(name: str, image: torch.Tensor, level: float) -> torch.Tensor:
    auto = v2.RandAugment()
    return auto._apply_image_or_video_transform(  # type: ignore[no-any-return]
        image, name, level, interpolation=v2.InterpolationMode.NEAREST, fill={}
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("row", range(14), ids=[row.name for row in RandAugment.table])
def test_each_operation_is_torchvisions(row: int, dtype: torch.dtype) -> None:
    """At the levels that both classes draw; nearest pixels may differ at ties, bytes by two."""
    name = RandAugment.table[row].name
    images = _images(4, dtype)
    for stage in (RandAugment(num_ops=1, magnitude=17), TrivialAugment()):
        table_row = stage.table[row]
        level = {"Posterize": 5.0, "Solarize": 0.6}.get(name, table_row.strongest * 17 / 30)
        for sign in (1, -1) if table_row.signed else (1,):
            params = {
                "operation": torch.full((4, 1), row),
                "magnitude": torch.full((4, 1), sign * level),
            }
            value = sign * level
            if name.startswith("Translate") and isinstance(stage, RandAugment):
                value *= SIZE
            result = stage.replay(images, params)
            expected = torch.stack([_torchvision(name, image, value) for image in images])
            difference = (result.float() - expected.float()).abs()
            limit = 2.01 if dtype == torch.uint8 else 2e-5
            assert (difference > limit).float().mean() <= (0.02 if name in _AFFINE else 0)


def test_auto_augment_draws_its_table() -> None:
    """Each operation equally often, signs half and half, bins uniform; posterize and solarize
    levels as torchvision's table has them."""
    num = 6000
    stage = TrivialAugment()
    params = stage.draw(_context(num), SIZE, SIZE)
    counts = params["operation"][:, 0].bincount(minlength=14)
    assert stats.chisquare(counts).pvalue > 1e-4
    rotate = params["magnitude"][params["operation"] == 5]
    assert abs((rotate > 0).double().mean() - 0.5) < 0.15
    assert rotate.abs().max() == 135
    theirs = v2.TrivialAugmentWide()._AUGMENTATION_SPACE["Posterize"][0](31, SIZE, SIZE)
    posterize = params["magnitude"][params["operation"] == 10]
    assert set(posterize.tolist()) == set(torch.as_tensor(theirs).float().tolist())
    rand = RandAugment(num_ops=3).draw(_context(num), SIZE, SIZE)
    assert rand["operation"].shape == (num, 3)
    assert set(rand["magnitude"][rand["operation"] == 5].abs().tolist()) == {9.0}


def test_choice_and_three_augment() -> None:
    """One transform a sample, equally often, equal to that transform alone; replay is exact."""
    images = _images(300)
    stage = RandomChoice([RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)])
    result = run_stages([stage], images, _context(300))
    horizontal = (stage.last_params["choice"] == 0)[:, None, None, None]
    assert torch.equal(result, torch.where(horizontal, images.flip(-1), images.flip(-2)))
    three = ThreeAugment()
    made = run_stages([three], images, _context(300))
    choice = three.last_params["choice"]
    assert stats.chisquare(choice.bincount(minlength=3)).pvalue > 1e-4
    assert torch.equal(three.replay(images), made)
    gray = tvf.rgb_to_grayscale(images[choice == 0], 3)
    torch.testing.assert_close(made[choice == 0], gray, atol=1e-5, rtol=0)
    torch.testing.assert_close(made[choice == 1], tvf.solarize(images[choice == 1], 0.5))
    with pytest.raises(ImageBatchError, match="keep shape"):
        RandomChoice([ToGrayscale(1)])(images)


def test_labels_and_poison_go_by_sample_id() -> None:
    """Wherever the samples stand in a batch."""
    context = BatchContext(np.array([40, 3, 7]), seed=0)
    labels = torch.tensor([1, 2, 3])
    replaced = ReplaceLabel([3, 40, 99], 8).apply(labels, context)
    assert replaced.tolist() == [8, 8, 3]
    assert labels.tolist() == [1, 2, 3]
    assert ToOneHot(4, 0.2)(torch.tensor([3])).tolist() == [pytest.approx([0.05, 0.05, 0.05, 0.85])]
    images = _images(3)
    pattern = torch.ones(3, SIZE, SIZE)
    poisoned = run_stages([Poison(pattern, 0.25, [7])], images, context)
    assert torch.equal(poisoned[:2], images[:2])
    torch.testing.assert_close(poisoned[2], 0.75 * images[2] + 0.25)

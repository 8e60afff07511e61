"""Laws that every transform obeys: whose randomness, whose memory, replay, layouts, types."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

from slipstream_decoders import BatchContext, MultiCropPipeline, NamedCopies, Stage, run_stages
from slipstream_ssl_pipelines import ImageBatchError, ReplayError
from slipstream_ssl_pipelines.transforms import (
    CircularMask,
    Compose,
    Cutout,
    ImageTransform,
    MultiSample,
    ParamsAsLabels,
    RandAugment,
    RandomAffine,
    RandomApply,
    RandomBackgroundBlend,
    RandomBrightness,
    RandomColorJitter,
    RandomColorJitterYIQ,
    RandomContrast,
    RandomEmbed,
    RandomErasing,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomHue,
    RandomPatchShuffle,
    RandomPosterize,
    RandomRotate,
    RandomRotateObject,
    RandomSaturation,
    RandomSolarization,
    RandomTranslate,
    RandomVerticalFlip,
    RandomZoom,
    ThreeAugment,
    TrivialAugment,
)

SIZE, BATCH = 32, 12
EVERY = [
    RandomHorizontalFlip(0.5),
    RandomVerticalFlip(0.5),
    RandomGrayscale(0.5),
    RandomBrightness(0.7),
    RandomContrast(0.7),
    RandomSaturation(0.7),
    RandomHue(0.7),
    RandomColorJitter(0.8, 0.1, 0.4, 0.4, 0.4),
    RandomColorJitterYIQ(0.8, 90, 0.4, 0.4, 0.4, 0.4),
    RandomGaussianBlur(0.5),
    RandomSolarization(0.5, 0.3),
    RandomPosterize(0.5, (7, 8)),
    RandomRotate(0.5),
    RandomZoom(0.5),
    RandomRotateObject(0.5),
    RandomAffine(0.7, 30, (0.1, 0.1), (0.8, 1.2), (-10, 10)),
    RandomTranslate(4),
    RandomPatchShuffle([4, 8], p=0.7),
    RandomErasing(0.7, fill="uniform"),
    Cutout(9, p=0.7),
    RandomBackgroundBlend(fade_mode="circular", fade_radius=4),
    RandomEmbed(SIZE, (0.3, 0.7), background="power_law"),
    CircularMask(SIZE),
    RandAugment(),
    TrivialAugment(),
    ThreeAugment(),
    RandomApply([RandomHorizontalFlip(0.5), RandomVerticalFlip(0.5)], 0.5),
    Compose([RandomHorizontalFlip(0.5), RandomHorizontalFlip(0.5)]),
]


def _name(stage: Stage) -> str:
    return type(stage).__name__


def _images(
    dtype: torch.dtype = torch.float32, last: bool = True, num: int = BATCH
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (num, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    order = torch.channels_last if last else torch.contiguous_format
    images = images.contiguous(memory_format=order)
    return images if dtype == torch.uint8 else (images / 255).to(dtype)


def _context(ids: list[int] | range = range(BATCH), epoch: int = 0, seed: int = 5) -> BatchContext:
    return BatchContext(np.array(ids, np.int64), seed=seed, epoch=epoch)


@pytest.mark.parametrize("stage", EVERY, ids=_name)
def test_a_sample_does_not_know_its_batch(stage: Stage) -> None:
    """Any split and order of the samples gives each the same pixels."""
    images = _images()
    whole = run_stages([stage], images, _context())
    order = np.random.default_rng(0).permutation(BATCH)
    for rows in np.split(order, [1, 4, 9]):
        part = run_stages([stage], images[torch.from_numpy(rows)], _context(rows.tolist()))
        torch.testing.assert_close(part, whole[torch.from_numpy(rows)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("stage", EVERY, ids=_name)
@pytest.mark.parametrize(
    ("dtype", "last"),
    [
        (torch.uint8, True),
        (torch.float32, True),
        (torch.float32, False),
        (torch.float16, True),
        (torch.bfloat16, False),
    ],
)
def test_type_order_and_input_are_kept(stage: Stage, dtype: torch.dtype, last: bool) -> None:
    """The result has the input's dtype and memory order, and the input is as it was."""
    images = _images(dtype, last)
    before = images.clone()
    result = run_stages([stage], images, _context())
    assert result.dtype == dtype
    assert result.shape == images.shape
    assert result.is_contiguous(memory_format=torch.channels_last) == last
    assert torch.equal(images, before)
    wide = run_stages([stage], _images(torch.float32, not last), _context())
    difference = (result.float() / (255 if dtype == torch.uint8 else 1) - wide).abs()
    # rounded input crosses thresholds: of equalize and posterize at many pixels, of others at few
    few = 0.15 if isinstance(stage, (RandAugment, TrivialAugment)) else 0.02
    assert (difference > 0.01).float().mean() < few


@pytest.mark.parametrize("stage", EVERY, ids=_name)
def test_replay_is_exact(stage: Stage) -> None:
    """The last parameters give the same result again, in another thread they must be passed."""
    images = _images()
    result = run_stages([stage], images, _context())
    params = stage.last_params
    assert torch.equal(stage.replay(images), result)
    failures = []

    def elsewhere() -> None:
        try:
            stage.replay(images)
        except ReplayError as error:
            failures.append(error)
        failures.append(torch.equal(stage.replay(images, params), result))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(timeout=60)
    assert isinstance(failures[0], ReplayError)
    assert failures[1] is True


@pytest.mark.parametrize("stage", EVERY, ids=_name)
def test_stages_travel(stage: Stage) -> None:
    """A pickled or copied stage draws what the stage itself draws."""
    images = _images()
    result = run_stages([stage], images, _context())
    assert torch.equal(run_stages([copy.deepcopy(stage)], images, _context()), result)
    travelled = pickle.loads(pickle.dumps(stage))
    assert torch.equal(run_stages([travelled], images, _context()), result)


def test_what_a_draw_depends_on() -> None:
    """Epoch, seed, view, occurrence and the stage's number matter; its own seed replaces one."""
    flip, images = RandomHorizontalFlip(0.5), _images(num=64)
    ids = range(64)
    base = run_stages([flip], images, _context(ids))
    others = [
        run_stages([flip], images, _context(ids, epoch=1)),
        run_stages([flip], images, _context(ids, seed=6)),
        run_stages([flip], images, _context(ids).in_view("other")),
        run_stages([Compose([flip])], images, _context(ids)),
        run_stages([flip], images, BatchContext(np.arange(64), 5, 0, np.ones(64, np.int64))),
    ]
    assert all(not torch.equal(base, other) for other in others)
    seeded = RandomHorizontalFlip(0.5, seed=9)
    one = run_stages([seeded], images, _context(ids, seed=1))
    assert torch.equal(one, run_stages([seeded], images, _context(ids, seed=2)))


def test_calls_outside_of_a_loader() -> None:
    """Without a seed each call draws anew; with one, the sequence of calls repeats."""
    images = _images(num=64)
    flip = RandomHorizontalFlip(0.5)
    assert not torch.equal(flip(images), flip(images))
    one, other = RandomHorizontalFlip(0.5, seed=3), RandomHorizontalFlip(0.5, seed=3)
    sequence = [one(images) for _ in range(3)]
    assert all(torch.equal(other(images), result) for result in sequence)
    assert not torch.equal(sequence[0], sequence[1])


def test_in_place_on_request() -> None:
    """``inplace`` writes into the batch; a batch of which nothing changes is returned itself."""
    images = _images()
    expected = run_stages([RandomHorizontalFlip(0.5)], images, _context())
    result = run_stages([RandomHorizontalFlip(0.5, inplace=True)], images, _context())
    assert result is images
    assert torch.equal(images, expected)
    assert RandomHorizontalFlip(0.0)(images) is images
    assert torch.equal(RandomHorizontalFlip(1.0)(images), images.flip(-1))


def test_lists_of_sizes_and_arrays() -> None:
    """Images of varying sizes, and arrays (B, H, W, C), get what a batch of tensors gets."""
    flip, images = RandomHorizontalFlip(0.5), _images(torch.uint8)
    whole = run_stages([flip], images, _context())
    singles = run_stages([flip], [image.permute(1, 2, 0).numpy() for image in images], _context())
    assert torch.equal(torch.stack(singles), whole)
    assert torch.equal(torch.stack(flip.replay(list(images))), whole)
    array = images.permute(0, 2, 3, 1).contiguous().numpy()
    assert torch.equal(run_stages([flip], array, _context()), whole)
    assert flip(images[:0]).shape == (0, 3, SIZE, SIZE)
    with pytest.raises(ImageBatchError, match="batch of one"):
        flip(images[0])


def test_random_apply_and_multi_sample() -> None:
    """Chosen samples get what the stages alone give; copies differ from one another."""
    images = _images(num=200)
    stage = RandomApply(RandomHorizontalFlip(1.0), 0.3)
    result = run_stages([stage], images, _context(range(200)))
    applied = stage.last_params["applied"]
    assert 30 < applied.sum() < 90
    assert torch.equal(result, torch.where(applied[:, None, None, None], images.flip(-1), images))
    copies = MultiSample(RandomHorizontalFlip(0.5), 3, return_input=True)
    made = run_stages([copies], images, _context(range(200)))
    assert len(made) == 4
    assert torch.equal(made[0], images)
    assert not torch.equal(made[1], made[2])
    assert all(map(torch.equal, copies.replay(images), made))


def test_parameters_as_labels() -> None:
    """They land in the context under their name and the view's; the pixels do not change."""
    images, flip = _images(), RandomHorizontalFlip(0.5)
    context = _context()
    views = MultiCropPipeline({"a": [ParamsAsLabels(flip, "flip")], "b": [flip]})
    result = run_stages([NamedCopies(["a", "b"]), views], images, context)
    assert list(context.labels) == ["a_flip"]
    applied = context.labels["a_flip"]["applied"]
    assert torch.equal(
        result["a"], torch.where(applied[:, None, None, None], images.flip(-1), images)
    )
    assert torch.equal(result["a"], run_stages([flip], images, _context().in_view("a")))
    with pytest.raises(TypeError, match="draws no parameters"):
        ParamsAsLabels(torch.nn.Identity(), "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", EVERY, ids=_name)
@pytest.mark.gpu
def test_devices_agree(stage: Stage) -> None:
    """The same parameters, and pixels within 1e-4 (a few at thresholds and ties apart)."""
    images = _images()
    here = run_stages([stage], images, _context())
    there = run_stages([stage], images.cuda(), _context())
    assert there.device.type == "cuda"
    assert ((there.cpu() - here).abs() > 1e-4).float().mean() < 0.01


COMPILED = [
    RandomColorJitter(0.8, 0.1, 0.4, 0.4, 0.4),
    RandomGaussianBlur(0.5),
    RandomSolarization(0.5),
    RandomRotate(0.5),
    RandomPatchShuffle(8, p=1.0),
]


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
@pytest.mark.parametrize("stage", COMPILED, ids=_name)
def test_transform_is_one_graph(stage: ImageTransform) -> None:
    """``torch.compile`` takes ``transform`` whole, of each family."""
    images = _images(num=4)
    params = stage.draw(_context(range(4)), SIZE, SIZE)
    params.pop("applied", None)
    compiled = torch.compile(stage.transform, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(images, params), stage.transform(images, params), atol=1e-5, rtol=0
    )

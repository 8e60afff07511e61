"""Masks of patches for joint-embedding prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines import ImageBatchError
from slipstream_ssl_pipelines.transforms import BlockMasks

IMAGES = torch.zeros(40, 3, 224, 224)


def context(ids: np.ndarray | range, seed: int = 3, epoch: int = 0) -> BatchContext:
    return BatchContext(np.array(ids, np.int64), seed=seed, epoch=epoch)


def test_masks_are_blocks() -> None:
    """Targets are rectangles of the same size; a context is what they leave of a large square."""
    for epoch in range(30):
        here = context(range(40), epoch=epoch)
        stage = BlockMasks(16)
        assert stage.apply(IMAGES, here) is IMAGES
        targets, kept = here.labels["target_masks"], here.labels["context_masks"]
        assert targets.shape[:2] == (40, 4)
        rows, columns = targets // 14, targets % 14
        heights = rows.amax(2) - rows.amin(2) + 1
        widths = columns.amax(2) - columns.amin(2) + 1
        assert heights.unique().numel() == widths.unique().numel() == 1
        height, width = int(heights[0, 0]), int(widths[0, 0])
        assert height * width == targets.shape[2] == targets[0, 0].unique().numel()
        assert 0.12 < height * width / 196 < 0.23
        assert 0.6 < height / width < 1.9
        assert kept.shape[1] > 10
        for of_target, of_context in zip(targets, kept, strict=True):
            assert of_context.unique().numel() == kept.shape[1]
            assert not np.isin(of_context, of_target).any()
            assert (of_context // 14).max() - (of_context // 14).min() < 14


def test_places_belong_to_samples() -> None:
    """A sample's targets are those of any batch with the same first sample; epochs differ."""
    stage = BlockMasks(16)
    whole = stage.draw(context(range(40)), 14, 14)
    some = stage.draw(context([0, 17, 5]), 14, 14)
    assert torch.equal(some["target_masks"], whole["target_masks"][[0, 17, 5]])
    shared = min(some["context_masks"].shape[1], whole["context_masks"].shape[1])
    assert torch.equal(
        some["context_masks"][:, :shared], whole["context_masks"][[0, 17, 5], :shared]
    )
    other = stage.draw(context(range(40), epoch=1), 14, 14)["target_masks"]
    assert not torch.equal(other[..., 0], whole["target_masks"][..., 0])
    own = BlockMasks(16, seed=8)
    assert torch.equal(
        own.draw(context(range(9), seed=1), 14, 14)["target_masks"],
        own.draw(context(range(9), seed=2), 14, 14)["target_masks"],
    )


def test_every_place_is_equally_likely() -> None:
    """Chi-square of the first rows and columns, the last ones included; targets independent."""
    stage = BlockMasks(16, target_scale=(0.15, 0.15), aspect_range=(1.0, 1.0))
    first = stage.draw(context(range(6000)), 14, 14)["target_masks"][..., 0]
    for values in (first // 14, first % 14):
        counts = np.bincount(values.flatten(), minlength=10)
        assert len(counts) == 10  # blocks of 5 in 14
        assert stats.chisquare(counts).pvalue > 1e-4
    correlations = np.corrcoef(np.concatenate([first // 14, first % 14], 1).T)
    assert np.abs(correlations - np.eye(8)).max() < 5 / 6000**0.5


def test_targets_give_way_to_a_context() -> None:
    """Where targets would leave too little, contexts overlap them; there is always a context."""
    greedy = BlockMasks(16, num_targets=6, target_scale=(0.9, 1.0), aspect_range=(1.0, 1.0))
    masks = greedy.draw(context(range(8)), 14, 14)
    assert masks["context_masks"].shape[1] > 10
    tiny = BlockMasks(16).draw(context(range(8)), 2, 2)
    assert tiny["context_masks"].shape[1] >= 1
    assert tiny["target_masks"].shape == (8, 4, 1)


def test_overlap_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the grid and how many contexts share patches with targets."""
    stage = BlockMasks(16)
    stage.draw(context(range(64)), 14, 14)
    assert not caplog.records
    for _ in range(2):
        masks = stage.draw(context(range(64)), 4, 4)
    shared = [np.isin(*pair).any() for pair in zip(*masks.values(), strict=True)]
    (record,) = caplog.records
    assert f"of 4 x 4 patches in {sum(shared)} of 64 samples" in record.getMessage()


def test_views_sizes_and_empty_batches() -> None:
    """Labels carry the view's name; grids need not be square; no sample, no mask."""
    here = context(range(2)).in_view("student")
    BlockMasks(16).apply(torch.zeros(2, 3, 64, 100), here)
    assert set(here.labels) == {"student_context_masks", "student_target_masks"}
    assert here.labels["student_context_masks"].max() < 4 * 6
    empty = BlockMasks(16).draw(context([]), 14, 14)
    assert [len(mask) for mask in empty.values()] == [0, 0]


def test_bad_options_are_refused() -> None:
    """At construction; images smaller than a patch when they come."""
    for options in ({"patch_size": 0}, {"target_scale": (0.0, 0.2)}, {"context_scale": (0.9, 1.2)}):
        with pytest.raises(ValueError, match=r"patch_size|scale"):
            BlockMasks(**options)
    with pytest.raises(ImageBatchError, match="no patch of 16"):
        BlockMasks(16)(torch.zeros(1, 3, 8, 32))

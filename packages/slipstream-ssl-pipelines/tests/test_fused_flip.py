"""A flip after a decoding stage is made by the decoder, and nobody can tell."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    DecodeCenterCrop,
    EncodedBatch,
    Normalize,
    ToTorchImage,
    apply_stage,
    fused_stages,
    named_stages,
    run_stages,
)
from slipstream_ssl_pipelines.transforms import (
    ParamsAsLabels,
    RandomHorizontalFlip,
)


def _payload(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((60, 50)).save(file, "JPEG", quality=92)
    return file.getvalue()


BATCH = EncodedBatch.from_payloads([_payload(seed) for seed in range(9)])


@pytest.mark.parametrize("end", [[], [ToTorchImage()], [Normalize()]], ids=len)
@pytest.mark.parametrize("first", [True, False])
def test_fused_flips_are_those_of_the_stage(end: list[Normalize], first: bool) -> None:
    """The same draws, layout and dtype, pixels within the rounding to bytes that is left out."""
    flip = RandomHorizontalFlip(0.5)
    stages = [DecodeCenterCrop(24), *([flip, *end] if first else [*end, flip])]
    assert len(fused_stages(stages)) == 1
    context = BatchContext(np.arange(9) * 7, seed=3)
    fused = run_stages(stages, BATCH, context)
    single = BATCH
    for name, stage in named_stages(stages):
        single = apply_stage(name, stage, single, context)
    assert fused.dtype == single.dtype
    assert fused.stride() == single.stride()
    limit = 0.51 / 255 / 0.22 if end else 0
    assert (fused.float() - single.float()).abs().max() <= limit + 1e-6
    assert 0 < flip.last_params["applied"].sum() < 9


def test_a_flip_with_labels_keeps_them() -> None:
    """It runs on its own."""
    context = BatchContext(np.arange(9), seed=3)
    run_stages(
        [DecodeCenterCrop(24), ParamsAsLabels(RandomHorizontalFlip(), "flip")], BATCH, context
    )
    assert context.labels["flip"]["applied"].dtype == torch.bool

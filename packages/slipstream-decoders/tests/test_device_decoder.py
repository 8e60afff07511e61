"""A device's one decoder of nvImageCodec, in its CPU-only mode."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import BatchContext, DecodeRandomResizedCrop, EncodedBatch
from slipstream_decoders.stages.device import nvimgcodec
from slipstream_decoders.stages.device.nvimgcodec import NvImageCodec, nvimgcodec_of

pytestmark = pytest.mark.skipif(
    not nvimgcodec.is_nvimgcodec_installed(), reason="nvImageCodec is not installed"
)
CPU = torch.device("cpu")


def _batch(seed: int, num: int = 6) -> EncodedBatch:
    rng, payloads = np.random.default_rng(seed), []
    for _ in range(num):
        size = tuple(int(side) for side in rng.integers(20, 90, 2))
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).resize(size).save(file, "JPEG")
        payloads.append(file.getvalue())
    return EncodedBatch.from_payloads(payloads)


def _crops(batch: EncodedBatch) -> torch.Tensor:
    stage = DecodeRandomResizedCrop(16, device="cpu", engine="nvimgcodec")
    found: torch.Tensor = stage.apply(batch, BatchContext(np.arange(len(batch)), 3, num_threads=1))
    return found


def test_threads_use_one_decoder_and_get_their_own_images() -> None:
    """Batches that are decoded at once are those that are decoded one after another."""
    batches = [_batch(seed, num=2 + seed % 5) for seed in range(24)]
    expected = [_crops(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_crops, batches))
        decoders = set(pool.map(lambda _: id(nvimgcodec_of(CPU, 1)), range(8)))
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert decoders == {id(nvimgcodec_of(CPU, 1))}
    assert nvimgcodec_of(CPU, 2) is not nvimgcodec_of(CPU, 1)


def test_images_of_earlier_batches_are_used_again() -> None:
    """No more batches than two have memory, however many there were."""
    codec = NvImageCodec(CPU, 1)
    batches = [_batch(seed, 1) for seed in range(6)]
    payloads = [np.frombuffer(batch.payload(0), np.uint8) for batch in batches]
    kept = [codec.whole([payload])[0] for payload in payloads]
    assert codec.whole([np.zeros(9, np.uint8)]) == [None]
    assert len(codec._kept) == 2
    for payload, found in zip(payloads, kept, strict=True):
        assert found is not None
        assert np.array_equal(found.numpy(), np.asarray(Image.open(io.BytesIO(payload))))


def test_a_failure_leaves_the_decoder_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next batch is decoded, by other threads too."""
    batch = _batch(1)
    expected = _crops(batch)

    def failing(*_: object) -> list[object]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(NvImageCodec, "_decode", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            _crops(batch)
    with ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(_crops, batch).result(60), expected)

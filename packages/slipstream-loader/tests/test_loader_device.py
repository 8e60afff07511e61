"""Loaders whose crops are finished on their stage's device."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import DecodeMultiRandomResizedCrop, DecodeRandomResizedCrop, Normalize
from slipstream_decoders.stages.device import nvimgcodec
from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.benchmark import device_pipelines, image_loaders, measure

pytestmark = pytest.mark.timeout(200)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
ENGINES = [
    "planes",
    pytest.param(
        "nvimgcodec",
        marks=pytest.mark.skipif(
            not is_nvimgcodec_installed(), reason="nvImageCodec is not installed"
        ),
    ),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Twelve small JPEGs of different sizes, one of them progressive."""
    samples = []
    for number in range(12):
        rng = np.random.default_rng(number)
        image = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8))
        file = io.BytesIO()
        image.resize((40 + number, 60 - number)).save(file, "JPEG", progressive=number == 5)
        samples.append({"image": file.getvalue(), "label": number})
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


def _images(dataset: SlipstreamDataset, stage: Any, **options: Any) -> dict[int, torch.Tensor]:
    """Sample id -> image of the first epoch."""
    loader = SlipstreamLoader(
        dataset, pipelines={"image": [stage, Normalize()]}, seed=3, drop_last=False, **options
    )
    images = {}
    for batch in loader:
        for sample_id, image in zip(batch["_indices"].tolist(), batch["image"], strict=True):
            images[sample_id] = image
    return images


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("image_format", ["jpeg", "yuv420"])
@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_do_not_depend_on_the_batch(
    dataset: SlipstreamDataset, engine: Any, image_format: Any, device: str
) -> None:
    """One engine gives a sample the same pixels in any batch, near to the CPU's own."""
    stage = DecodeRandomResizedCrop(24, device=device, engine=engine)
    one = _images(dataset, stage, batch_size=5, image_format=image_format)
    other = _images(dataset, stage, batch_size=3, image_format=image_format, num_threads=1)
    plain = DecodeRandomResizedCrop(24)
    expected = _images(dataset, plain, batch_size=4, image_format=image_format)
    assert sorted(one) == sorted(other) == sorted(expected) == list(range(12))
    for sample_id, image in one.items():
        assert image.device.type == device
        tolerance = 0.0 if device == "cpu" else 1e-5
        torch.testing.assert_close(image, other[sample_id], rtol=0, atol=tolerance)
        difference = (image.cpu() - expected[sample_id]).abs().mean()
        assert float(difference) * 255 * 0.225 <= 4


@pytest.mark.parametrize("on_error", ["raise", "zero", "replace"])
def test_the_whole_batch_is_on_the_device(
    dataset: SlipstreamDataset, on_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks and sample ids too, on several ranks."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = SlipstreamLoader(
        dataset,
        batch_size=5,
        pipelines={"image": [DecodeRandomResizedCrop(8)]},
        seed=3,
        drop_last=False,
        device="meta",
        on_error=on_error,
    )
    masks = {"_padding"} if on_error == "raise" else {"_padding", "_valid"}
    for batch in loader:
        assert set(batch) == {"image", "label", "_indices"} | masks
        assert {name: value.device.type for name, value in batch.items()} == dict.fromkeys(
            batch, "meta"
        )


@pytest.mark.gpu
def test_batches_of_a_gpu_are_kept(dataset: SlipstreamDataset) -> None:
    """Batches that are kept for long are those that the loader gave, views included."""
    crops = {"a": {"size": 32}, "b": {"size": 16}}
    stage = DecodeMultiRandomResizedCrop(crops, device="cuda", engine="planes")
    loader = SlipstreamLoader(
        dataset, batch_size=2, pipelines={"image": stage}, seed=3, device="cuda"
    )
    kept, copies = [], []
    for _ in range(20):
        for batch in loader:
            torch.cuda._sleep(1_000_000)
            kept.append(batch)
            copies.append({view: batch[view].clone() for view in crops})
    for batch, copied in zip(kept, copies, strict=True):
        for view in crops:
            assert torch.equal(batch[view], copied[view])


@pytest.mark.parametrize("device", DEVICES)
def test_bench_measures_every_engine(dataset: SlipstreamDataset, device: str) -> None:
    """Each pipeline that crops comes once for each engine; others stay as they are."""
    named = {"raw": [], "rrc": [DecodeRandomResizedCrop(16), Normalize()]}
    pipelines = device_pipelines(named, device)
    engines = [name.split(", ")[1] for name in pipelines if ", " in name]
    assert {"planes", "cpu"} <= set(engines)
    assert next(iter(pipelines)) == "raw"
    loaders = image_loaders(dataset, pipelines, batch_size=4, num_threads=1)
    figures = [found.as_json() for found in measure(loaders, 1, lambda name: None)]
    assert [found["engine"] for found in figures] == [None, *engines]
    assert {found["device"] for found in figures[1:]} == {"cuda" if device == "cuda" else "cpu"}
    assert all(found["images_per_second"]["best"] > 0 for found in figures)


def test_bench_refuses_devices_that_are_not_there() -> None:
    """The command says so in one line."""
    import typer

    from slipstream_loader.cli.arguments import usable_device

    assert usable_device("cpu") == "cpu"
    for name in ("meta", "nonsense", *([] if torch.cuda.is_available() else ["cuda"])):
        with pytest.raises(typer.BadParameter):
            usable_device(name)


def test_epochs_make_no_decoders(
    dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All epochs of all loaders, whose batches are made by threads that come and go, share one."""
    pytest.importorskip("nvidia.nvimgcodec")
    made = []
    construct = nvimgcodec.NvImageCodec.__init__

    def counted(codec: nvimgcodec.NvImageCodec, *arguments: Any) -> None:
        made.append(arguments)
        construct(codec, *arguments)

    monkeypatch.setattr(nvimgcodec, "_decoders", {})
    monkeypatch.setattr(nvimgcodec.NvImageCodec, "__init__", counted)
    stage = DecodeRandomResizedCrop(24, device="cpu", engine="nvimgcodec")
    for _ in range(2):
        loader = SlipstreamLoader(
            dataset, batch_size=2, pipelines={"image": stage}, seed=3, num_threads=1
        )
        assert [len(list(loader)) for _ in range(3)] == [6, 6, 6]
    assert len(made) == 1


def test_loaders_on_the_cpu_import_nothing_of_cuda(dataset: SlipstreamDataset) -> None:
    """An epoch with crops and batch transforms on a machine that has everything installed."""
    path = SlipstreamLoader(dataset, batch_size=4).cache.cache_dir
    code = (
        "import sys, torch\n"
        "from slipstream_loader import SlipstreamLoader\n"
        "from slipstream_ssl_pipelines import simclr\n"
        f"loader = SlipstreamLoader({str(path)!r}, batch_size=4, pipelines=simclr(size=16))\n"
        "assert len(list(loader)) == 3\n"
        "parts = ('nvimgcodec', 'dali', 'cvcuda', 'cupy', 'triton')\n"
        "found = [m for m in sys.modules if m.removeprefix('nvidia.').split('.')[0] in parts]\n"
        "assert not found, found\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)

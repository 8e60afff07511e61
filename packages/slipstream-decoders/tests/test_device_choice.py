"""Which engine crops, decoders as objects, and what the GPU extra installs and imports."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files, requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import (
    BackendUnavailableError,
    BatchContext,
    CorruptImageError,
    CPUDecoder,
    DecodeRandomResizedCrop,
    EncodedBatch,
    GPUDecoder,
    GPUDecoderFallback,
    adopt_engines,
    check_gpu_decoder_available,
    engine_choices,
    get_decoder,
)
from slipstream_decoders.stages.device import choose, crop, nvimgcodec
from slipstream_decoders.stages.device.crop import DeviceJob

needs_nvimgcodec = pytest.mark.skipif(
    not nvimgcodec.is_nvimgcodec_installed(), reason="nvImageCodec is not installed"
)
CPU = torch.device("cpu")


def _payloads(num: int) -> list[bytes]:
    rng = np.random.default_rng(3)
    payloads = []
    for number in range(num):
        pixels = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
        file = io.BytesIO()
        pixels.resize((30 + number % 7, 40 - number % 5)).save(file, "JPEG", quality=95)
        payloads.append(file.getvalue())
    return payloads


def _job(num: int) -> DeviceJob:
    batch = EncodedBatch.from_payloads(_payloads(num))
    context = BatchContext(np.arange(num), seed=1, num_threads=1)
    return DeviceJob(batch, [DecodeRandomResizedCrop(16).view(batch, context)], CPU, context)


@pytest.fixture
def _unchosen() -> Iterator[None]:
    choose.forget_engines()
    yield
    choose.forget_engines()


@pytest.mark.usefixtures("_unchosen")
def test_the_fastest_engine_is_chosen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on the first batch that is large enough, and kept."""
    seconds = {"planes": 3.0, "nvimgcodec": 2.0, "cpu": 1.0}
    monkeypatch.setattr(choose, "_timed", lambda engine, job: seconds[engine])
    assert choose.chosen_engine(_job(3)) == "planes"
    assert engine_choices() == {}
    assert choose.chosen_engine(_job(32)) == "cpu"
    seconds["planes"] = 0.5
    assert choose.chosen_engine(_job(32)) == "cpu"
    adopt_engines({"jpeg": "planes"})
    assert choose.chosen_engine(_job(3)) == "planes"
    assert engine_choices() == {"jpeg": "planes"}


@pytest.mark.usefixtures("_unchosen")
@pytest.mark.parametrize("failure", ["pixels", "error"])
def test_an_engine_with_wrong_pixels_is_not_chosen(
    failure: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However fast it is; it is left out with a warning."""
    cropped = crop.crop_by

    def broken(engine: Any, job: DeviceJob) -> list[torch.Tensor]:
        if engine != "planes":
            return cropped(engine, job)
        if failure == "error":
            raise OSError("no C compiler")
        return [image.flip(-1) for image in cropped(engine, job)]

    monkeypatch.setattr(choose, "crop_by", broken)
    monkeypatch.setattr(choose, "_timed", lambda engine, job: float(engine != "planes"))
    assert choose.chosen_engine(_job(32)) != "planes"
    assert "planes" in caplog.text


@pytest.mark.parametrize(
    "make",
    [
        CPUDecoder,
        lambda: GPUDecoderFallback("cpu"),
        pytest.param(lambda: GPUDecoder("cpu"), marks=needs_nvimgcodec),
        pytest.param(GPUDecoder, marks=pytest.mark.gpu),
        pytest.param(GPUDecoderFallback, marks=pytest.mark.gpu),
    ],
    ids=["cpu", "fallback_cpu", "gpu_on_cpu", "gpu", "fallback"],
)
def test_decoders_decode(make: Any) -> None:
    """Whole images are Pillow's; crops have one size; seeds repeat; damage is named."""
    payloads, decoder = _payloads(5), make()
    tolerance = 0 if decoder.device.type == "cpu" else 16
    for payload, found in zip(payloads, decoder.decode_batch(payloads), strict=True):
        expected = torch.from_numpy(np.array(Image.open(io.BytesIO(payload)))).permute(2, 0, 1)
        assert found.device.type == decoder.device.type
        assert int((found.cpu().int() - expected.int()).abs().max()) <= tolerance
    assert decoder.decode_batch_to_tensor(payloads, 20).shape == (5, 3, 20, 20)
    assert decoder.decode_batch_center_crop(payloads, 24).shape == (5, 3, 24, 24)
    one, other = (decoder.decode_batch_random_crop(payloads, (8, 9), seed=4) for _ in range(2))
    assert one.shape == (5, 3, 8, 9)
    assert torch.equal(one, other)
    for call in (decoder.decode_batch, decoder.decode_batch_to_tensor):
        with pytest.raises(CorruptImageError) as caught:
            call([payloads[0], payloads[1][:200]])
        assert caught.value.sample_ids == [1]
    decoder.shutdown()


def test_get_decoder_gives_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU decoder where one can be, and otherwise the CPU's."""
    assert type(get_decoder(prefer_gpu=False)) is CPUDecoder
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert type(get_decoder(fallback_workers=2)) is CPUDecoder
    assert not check_gpu_decoder_available()
    with pytest.raises(BackendUnavailableError, match="CUDA"):
        GPUDecoder()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    from slipstream_decoders.stages import decoders

    monkeypatch.setattr(decoders, "is_nvimgcodec_installed", lambda: False)
    assert type(get_decoder()) is GPUDecoderFallback
    with pytest.raises(BackendUnavailableError, match=r"\[gpu\]"):
        GPUDecoder()


def test_nothing_of_cuda_is_imported_before_it_is_asked_for() -> None:
    """Cropping on the CPU imports neither nvImageCodec nor Triton nor CuPy, nor starts CUDA."""
    code = (
        "import sys, torch, numpy as np, slipstream_decoders as d\n"
        "from slipstream_decoders.stages import decoders\n"
        "from slipstream_decoders.stages.device import choose\n"
        "d.DecodeRandomResizedCrop(8, device='cuda'), d.check_gpu_decoder_available()\n"
        "found = {'nvidia.nvimgcodec', 'triton', 'cupy', 'cvcuda'} & sys.modules.keys()\n"
        "assert not found, found\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


@needs_nvimgcodec
def test_the_gpu_extra_installs_what_its_wheels_need() -> None:
    """nvJPEG, by nvImageCodec's own word; and no library of CUDA that no wheel brings."""
    try:
        lines = requires("visionlab-slipstream-decoders") or []
    except PackageNotFoundError:
        pytest.skip("slipstream-decoders is used from its sources, not installed")
    declared = {
        re.split(r"[^\w.-]", line)[0]
        for line in lines
        if "extra == 'gpu'" in line.replace('"', "'")
    }
    wanted = {
        re.split(r"[^\w.-]", line)[0]
        for line in requires("nvidia-nvimgcodec-cu12") or []
        if re.search(r"extra == ['\"]nvjpeg['\"]", line)
    }
    assert wanted == {"nvidia-nvjpeg-cu12"}
    assert wanted | {"nvidia-nvimgcodec-cu12"} <= declared
    brought = set()
    libraries = []
    for distribution in sorted(declared):
        try:
            found = files(distribution) or []
        except PackageNotFoundError:
            continue
        shared = [Path(str(file.locate())) for file in found if ".so" in file.name]
        brought |= {library.name for library in shared}
        libraries += shared if distribution.startswith("nvidia-") else []
    assert len(libraries) > 3
    for library in libraries:
        needed = _needed(library)
        cuda = {name for name in needed if name.startswith(("libcu", "libnv", "libnpp"))}
        assert cuda - {"libcuda.so.1"} <= brought, f"{library.name} needs {cuda - brought}"


def _needed(library: Path) -> set[str]:
    """The libraries that the system's loader loads with one: DT_NEEDED of a 64-bit ELF file."""
    data = library.read_bytes()
    word = lambda at, size=8: int.from_bytes(data[at : at + size], "little")  # noqa: E731
    headers = [word(32) + number * word(54, 2) for number in range(word(56, 2))]
    segments = [(word(h, 4), word(h + 8), word(h + 16), word(h + 32)) for h in headers]
    (dynamic,) = [(offset, size) for kind, offset, _, size in segments if kind == 2]
    entries = [(word(at), word(at + 8)) for at in range(dynamic[0], dynamic[0] + dynamic[1], 16)]
    (table,) = {value for tag, value in entries if tag == 5}
    start = next(
        o + table - a for kind, o, a, size in segments if kind == 1 and a <= table < a + size
    )
    return {
        data[start + value : data.index(b"\0", start + value)].decode()
        for tag, value in entries
        if tag == 1
    }

"""Both resizers where a stray access kills the process, and on lesser processors.

The tests run this file as a program in a process of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from slipstream_decoders._kernels.planar_output import FLOAT16_PIXELS, FLOAT32_PIXELS, UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import planar_workspace_size, resize_planar
from slipstream_decoders._kernels.resize_rgb import resize_rgb, rgb_workspace_size
from slipstream_decoders._kernels.simd.memory import load_f32, store_f32
from slipstream_decoders._kernels.status import OK

_KINDS: dict[int, type[np.generic]] = {
    UINT8_PIXELS: np.uint8,
    FLOAT32_PIXELS: np.float32,
    FLOAT16_PIXELS: np.float16,
}
_SOURCES = [(1, 1), (3, 5), (16, 16), (40, 63), (63, 64), (65, 140), (300, 200), (90, 400)]
_SIZES = [(1, 1), (17, 5), (16, 48), (98, 98)]
_RATIOS = [(1, 1), (2, 2), (1, 4), (0, 0)]

_PROCESSORS = {
    "x86-64-v3": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,"
    "+lzcnt,+movbe",
    "x86-64-v2": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16",
}
_REGISTERS = {"x86-64-v3": "ymm", "x86-64-v2": "xmm"}


class _Fence:
    """Memory between two pages that nobody may touch; arrays lie at its end or at its start."""

    def __init__(self, *, at_end: bool) -> None:
        self._at_end = at_end
        self._maps: list[mmap.mmap] = []
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def array(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
        """Zeros whose last (or first) byte is next to a forbidden page."""
        page = mmap.PAGESIZE
        num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        inner = -(-num_bytes // page) * page
        memory = mmap.mmap(-1, inner + 2 * page)
        self._maps.append(memory)  # kept for good
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for address in (base, base + page + inner):
            assert self._protect(address, page, 0) == 0
        offset = page + (inner - num_bytes if self._at_end else 0)
        return np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)

    def noise(self, shape: tuple[int, ...]) -> NDArray[np.generic]:
        array = self.array(shape, np.uint8)
        array[...] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return array


def _boxes(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """The whole image, its last and its first corner, one pixel."""
    h, w = (height + 1) // 2, (width + 1) // 2
    return [
        (0, 0, width, height),
        (width - w, height - h, w, h),
        (0, 0, w, h),
        (width - 1, height - 1, 1, 1),
    ]


def _run_rgb(fence: _Fence, source: tuple[int, int], size: tuple[int, int]) -> bytes:
    pixels, output = fence.noise((*source, 3)), fence.array((*size, 3), np.uint8)
    results = []
    for x, y, width, height in _boxes(*source):
        workspace = fence.array((rgb_workspace_size(height, width, *size),), np.uint8)
        status = resize_rgb(
            pixels.ctypes.data,
            3 * source[1],
            *source,
            float(x),
            float(y),
            float(width),
            float(height),
            x,
            y,
            width,
            height,
            False,
            output.ctypes.data,
            3 * size[1],
            *size,
            workspace.ctypes.data,
            workspace.size,
        )
        assert status == OK
        results.append(output.tobytes())
    return b"".join(results)


def _run_planar(
    fence: _Fence,
    source: tuple[int, int],
    size: tuple[int, int],
    ratio: tuple[int, int],
    kind: int,
) -> bytes:
    chroma = tuple(-(-side // max(r, 1)) for side, r in zip(source, ratio, strict=True))
    luma, blue, red = fence.noise(source), fence.noise(chroma), fence.noise(chroma)
    output = fence.array((*size, 3), _KINDS[kind])
    scales = fence.array((6,), np.float32)
    scales[:3] = np.float32(1)
    results = []
    for x, y, width, height in _boxes(*source):
        workspace = fence.array((planar_workspace_size(height, width, *size),), np.uint8)
        status = resize_planar(
            luma.ctypes.data,
            source[1],
            blue.ctypes.data,
            red.ctypes.data,
            chroma[1],
            *ratio,
            *source,
            float(x),
            float(y),
            float(width),
            float(height),
            x,
            y,
            width,
            height,
            False,
            kind,
            output.ctypes.data,
            output.strides[0],
            *size,
            scales.ctypes.data,
            workspace.ctypes.data,
            workspace.size,
        )
        assert status == OK
        results.append(np.clip(output, 0, 255).astype(np.uint8).tobytes())
    return b"".join(results)


def _run_all(*, at_end: bool) -> tuple[bytes, bytes]:
    """Both resizers on every combination: the bytes of RGB, and those of planar."""
    rgb, planar = [], []
    for source in _SOURCES:
        for size in _SIZES:
            fence = _Fence(at_end=at_end)
            rgb.append(_run_rgb(fence, source, size))
            for ratio in _RATIOS:
                for kind in _KINDS:
                    planar.append(_run_planar(fence, source, size, ratio, kind))
    return b"".join(rgb), b"".join(planar)


def _stray(offset: int) -> None:
    """Write where nobody may."""
    ctypes.memset(_Fence(at_end=True).array((100,), np.uint8).ctypes.data + offset, 1, 1)


def _registers() -> str:
    """Widest vector registers that numba uses in this process."""

    def double(address: int) -> None:
        vector = load_f32(address)
        store_f32(address, vector + vector)

    compiled: Any = njit("void(int64)")(double)
    text = "".join(compiled.inspect_asm().values())
    return next(name for name in ("zmm", "ymm", "xmm") if name in text)


def _child(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")


@_on_linux
@pytest.mark.parametrize("side", ["end", "start"])
def test_nothing_outside_of_the_buffers_is_touched(side: str) -> None:
    """Sources, outputs and workspaces of exactly their size, next to forbidden pages."""
    result = _child("fence", side)
    assert result.returncode == 0, result.stderr


@_on_linux
@pytest.mark.parametrize("offset", [100, -3997])
def test_a_stray_access_is_noticed(offset: int) -> None:
    """The test above can fail."""
    assert _child("stray", str(offset)).returncode < 0


@_on_linux
@pytest.mark.slow
@pytest.mark.parametrize("processor", list(_PROCESSORS))
def test_lesser_processors_give_the_same_pixels(processor: str, tmp_path: Path) -> None:
    """Compiled for AVX2 or SSE4 only: RGB is the same, planar within one level."""
    if "avx512" not in _host_features():
        pytest.skip("needs a processor with AVX-512, to compare with")
    paths = [tmp_path / "host.npz", tmp_path / "lesser.npz"]
    lesser = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": _PROCESSORS[processor]}
    for result in (
        _child("pixels", str(paths[0]), ""),
        _child("pixels", str(paths[1]), _REGISTERS[processor], **lesser),
    ):
        assert result.returncode == 0, result.stderr
    host, other = (np.load(path) for path in paths)
    np.testing.assert_array_equal(host["rgb"], other["rgb"])
    difference = host["planar"].astype(np.int16) - other["planar"]
    assert np.abs(difference).max() <= 1


def _host_features() -> str:
    return Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def _main(mode: str, *arguments: str) -> None:
    if mode == "fence":
        _run_all(at_end=arguments[0] == "end")
    elif mode == "stray":
        _stray(int(arguments[0]))
    else:
        rgb, planar = (np.frombuffer(data, np.uint8) for data in _run_all(at_end=True))
        np.savez(arguments[0], rgb=rgb, planar=planar)
        assert arguments[1] in ("", _registers())


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""The Triton kernel of the resize: in Triton's interpreter, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slipstream_decoders import BufferPool, PixelForm, View, resize_crop_boxes
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.stages.device.patches import Patches, geometry_of
from slipstream_decoders.stages.device.resample import new_images, resample_by_torch

MODULE = "slipstream_decoders.stages.device._kernels.resample"
INTERPRET = "TRITON_INTERPRET"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture(
    params=[
        pytest.param("interpreter", marks=needs_triton),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def launch(request: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The kernel's launcher; ``launch.device`` is where it takes tensors."""
    if request.param == "interpreter" and os.environ.get(INTERPRET) != "1":
        pytest.skip("runs in a process of its own: test_the_interpreter_equals_torch")
    module = import_module(MODULE)
    monkeypatch.setattr(module, "_TILE_HEIGHT", 16)
    device = torch.device("cpu" if request.param == "interpreter" else "cuda")

    def on_device(patches: Patches, view: View, out: torch.Tensor) -> None:
        module.launch(patches, geometry_of(patches, view), view.form, out, BufferPool(0))

    on_device.device = device  # type: ignore[attr-defined]
    return on_device


def _planar(ratios: tuple[int, int], device: torch.device) -> Patches:
    """Two patches of planes with some distance between their rows."""
    rng = np.random.default_rng(1)
    ratio_y, ratio_x = ratios
    regions = np.array([[4, 8, 20, 16], [0, 4, 13, 11]])
    layout, size = [], 3
    for _, _, width, height in regions.tolist():
        luma, size = size, size + height * (width + 2)
        blue = red = pitch = 0
        if ratio_x:
            pitch = -(-width // ratio_x) + 1
            blue, red = size, size + pitch * -(-height // ratio_y)
            size = red + pitch * -(-height // ratio_y)
        layout.append([luma, width + 2, blue, red, pitch, ratio_y, ratio_x])
    data = torch.from_numpy(rng.integers(0, 256, size, np.uint8)).to(device)
    return Patches(np.array([2, 0]), data, np.array(layout), regions, is_planes=True)


def _interleaved(device: torch.device) -> Patches:
    patches = _planar((0, 0), device)
    sizes = 3 * patches.regions[:, 2] * patches.regions[:, 3]
    layout = np.zeros((2, 7), np.int64)
    layout[:, 0], layout[:, 1] = np.cumsum(sizes) - sizes, 3 * patches.regions[:, 2]
    pixels = np.random.default_rng(2).integers(0, 256, int(sizes.sum()), np.uint8)
    data = torch.from_numpy(pixels).to(device)
    return Patches(patches.rows, data, layout, patches.regions, is_planes=False)


def _view(form: PixelForm) -> View:
    window = np.array([[1.5, 4.25, 9.0, 8.5], [0, 0, 1, 1], [5.0, 9.0, 17.0, 14.0]])
    bounds = np.array([[0, 4, 13, 11], [0, 0, 1, 1], [5, 9, 17, 14]], np.int32)
    return View(Boxes(window, bounds), (17, 6), form, np.array([True, False, False]))


HALF = PixelForm(np.dtype(np.float16), (0.01, 0.02, 0.03), (0.5, -0.5, -1.0))


@pytest.mark.parametrize("form", [PixelForm(), HALF], ids=["uint8", "float16"])
@pytest.mark.parametrize("source", ["4:2:0", "gray", "rgb"])
def test_the_kernel_equals_torch(launch: Any, source: str, form: PixelForm) -> None:
    """The kernel makes what torch's matrix products make, and leaves other rows alone."""
    device = launch.device
    patches = (
        _interleaved(device)
        if source == "rgb"
        else _planar((2, 2) if source == "4:2:0" else (0, 0), device)
    )
    view = _view(form)
    expected, found = (new_images(3, view, device).fill_(7) for _ in range(2))
    resample_by_torch(patches, geometry_of(patches, view), form, expected)
    launch(patches, view, found)
    assert (found[1] == 7).all()
    difference = (expected.float() - found.float()).abs()
    assert float(difference.max()) <= (1 if form.dtype == np.uint8 else 0.01)
    assert float(difference.mean()) <= 0.01


@needs_triton
def test_the_interpreter_equals_torch() -> None:
    """In a process of its own: Triton decides when it is imported who runs its kernels."""
    selected = ["-n", "0", "-k", "test_the_kernel_equals_torch and interpreter", "-rA"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *selected, "-p", "no:cacheprovider", __file__],
        env={**os.environ, INTERPRET: "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "6 passed" in run.stdout


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from slipstream_decoders.stages.device._kernels.resample import _resample

for is_planes in (True, False):
    constants = {"IS_PLANES": is_planes, "IS_BYTES": True, "INTEGERS": 20, "REALS": 4}
    constants |= {"TILE_HEIGHT": 8, "TILE_WIDTH": 64}
    types = {"data": "*u8", "integers": "*i64", "reals": "*fp32", "out": "*u8"}
    types |= {"height": "i32", "width": "i32"}
    types |= {f"{part}_{channel}": "fp32" for part in ("scale", "bias") for channel in "rgb"}
    types |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(_resample, types, constexprs=constants)
    options = {"enable_fp_fusion": True}
    compiled = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert len(compiled.asm["cubin"]) > 1000
"""


@needs_triton
def test_the_kernel_compiles_for_gpus(tmp_path: Path) -> None:
    """Down to machine code for Hopper, on any machine."""
    places = {"TRITON_CACHE_DIR": str(tmp_path), INTERPRET: "0"}
    run = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_patches_outside_of_their_buffer_are_refused() -> None:
    """No kernel is asked for memory that is not the buffer's."""
    patches = _planar((2, 2), torch.device("cpu"))
    for column, value in [(0, -1), (0, 10_000), (3, 10_000), (1, 500)]:
        layout = patches.layout.copy()
        layout[0, column] = value
        wrong = Patches(patches.rows, patches.data, layout, patches.regions, is_planes=True)
        with pytest.raises(ValueError, match="does not lie"):
            geometry_of(wrong, _view(PixelForm()))
    boxes = resize_crop_boxes(*(np.full(3, 40, np.int32),) * 2, 20, 20, 0.5, 0.5)
    with pytest.raises(ValueError, match="does not lie"):
        geometry_of(patches, View(boxes, (17, 6)))

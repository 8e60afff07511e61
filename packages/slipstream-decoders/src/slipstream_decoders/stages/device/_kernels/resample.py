"""The resize of patches as one Triton kernel: one program makes a tile of one image.

Weights are computed where they are used; each output pixel reads its own taps, which the caches
serve many times over. Nothing lies in memory between the decoded pixels and the batch.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# Triton reads annotations of its functions: those of Python's types are none to it.

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from slipstream_decoders.buffers import Buffers
from slipstream_decoders.pixel_form import PixelForm
from slipstream_decoders.stages.device.patches import INTEGERS, REALS, Geometry, Patches

_TILE_HEIGHT = 8
_TILE_WIDTH = 64


def launch(
    patches: Patches, geometry: Geometry, form: PixelForm, out: torch.Tensor, buffers: Buffers
) -> None:
    """Resize patches on the current CUDA stream; see ``resample``.

    Raises
    ------
    RuntimeError
        If Triton cannot compile or start the kernel.
    """
    integers, reals = geometry.on(out.device, buffers)
    height, width = out.shape[1], out.shape[2]
    grid = (
        patches.rows.size,
        triton.cdiv(height, _TILE_HEIGHT),
        triton.cdiv(width, _TILE_WIDTH),
    )
    try:
        with torch.cuda.device_of(out):
            _resample[grid](
                patches.data,
                integers,
                reals,
                out,
                height,
                width,
                *form.scale,
                *form.bias,
                IS_PLANES=patches.is_planes,
                IS_BYTES=form.dtype == np.uint8,
                INTEGERS=INTEGERS,
                REALS=REALS,
                TILE_HEIGHT=_TILE_HEIGHT,
                TILE_WIDTH=_TILE_WIDTH,
                enable_fp_fusion=True,
            )
    except triton.TritonError as error:
        raise RuntimeError(f"Triton has no kernel for {out.device}: {error}") from error


@triton.jit
def _first_taps(
    window_start,
    window_size,
    outputs,
    positions,
    first,
    size,
    taps,
):
    """First source pixel of each output pixel, its distance from the centre, and 1 / support."""
    scale = window_size / outputs
    support = tl.maximum(scale, 1.0)
    centres = window_start + (positions.to(tl.float32) + 0.5) * scale
    bases = tl.floor(centres - support + 0.5).to(tl.int32)
    bases = tl.minimum(tl.maximum(bases, first), first + size - taps)
    return bases, bases.to(tl.float32) + 0.5 - centres, 1.0 / support


@triton.jit
def _channel(
    source,
    pitch,
    step: tl.constexpr,
    lines,
    line_distances,
    line_inverse,
    line_taps,
    columns,
    column_distances,
    column_inverse,
    column_taps,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    """Weighted sum of one channel for a tile, float32."""
    total = tl.zeros((TILE_HEIGHT, TILE_WIDTH), tl.float32)
    line_total = tl.zeros((TILE_HEIGHT,), tl.float32)
    column_total = tl.zeros((TILE_WIDTH,), tl.float32)
    for tap in range(column_taps):
        weight = tl.maximum(1.0 - tl.abs(column_distances + tap) * column_inverse, 0.0)
        column_total += weight
    for line_tap in range(line_taps):
        line_weight = tl.maximum(1.0 - tl.abs(line_distances + line_tap) * line_inverse, 0.0)
        line_total += line_weight
        starts = (lines + line_tap).to(tl.int64) * pitch
        row = tl.zeros((TILE_HEIGHT, TILE_WIDTH), tl.float32)
        for tap in range(column_taps):
            weight = tl.maximum(1.0 - tl.abs(column_distances + tap) * column_inverse, 0.0)
            offsets = starts[:, None] + ((columns + tap) * step)[None, :]
            row += tl.load(source + offsets).to(tl.float32) * weight[None, :]
        total += row * line_weight[:, None]
    return total / (line_total[:, None] * column_total[None, :])


@triton.jit
def _store(values, out, offsets, inside, scale, bias, IS_BYTES: tl.constexpr):
    if IS_BYTES:
        rounded = tl.minimum(tl.maximum(values + 0.5, 0.0), 255.0)
        tl.store(out + offsets, rounded.to(tl.uint8), mask=inside)
    else:
        formed = tl.minimum(tl.maximum(values, 0.0), 255.0) * scale + bias
        tl.store(out + offsets, formed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _resample(
    data,
    integers,
    reals,
    out,
    height,
    width,
    scale_r,
    scale_g,
    scale_b,
    bias_r,
    bias_g,
    bias_b,
    IS_PLANES: tl.constexpr,
    IS_BYTES: tl.constexpr,
    INTEGERS: tl.constexpr,
    REALS: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    TILE_WIDTH: tl.constexpr,
):
    """A tile of one image."""
    about = integers + tl.program_id(0) * INTEGERS
    window = reals + tl.program_id(0) * REALS
    luma, pitch = tl.load(about), tl.load(about + 1)
    row, mirrored, has_chroma = tl.load(about + 7), tl.load(about + 8), tl.load(about + 9)
    x, y = tl.load(about + 10).to(tl.int32), tl.load(about + 11).to(tl.int32)
    x_size, y_size = tl.load(about + 12).to(tl.int32), tl.load(about + 13).to(tl.int32)
    x_taps, y_taps = tl.load(about + 14).to(tl.int32), tl.load(about + 15).to(tl.int32)
    window_x, window_y = tl.load(window), tl.load(window + 1)
    window_width, window_height = tl.load(window + 2), tl.load(window + 3)

    down = tl.program_id(1) * TILE_HEIGHT + tl.arange(0, TILE_HEIGHT)
    across = tl.program_id(2) * TILE_WIDTH + tl.arange(0, TILE_WIDTH)
    inside = (down < height)[:, None] & (across < width)[None, :]
    down_source = tl.minimum(down, height - 1)
    across_source = tl.minimum(across, width - 1)
    across_source = tl.where(mirrored != 0, width - 1 - across_source, across_source)

    lines, line_distances, line_inverse = _first_taps(
        window_y, window_height, height, down_source, y, y_size, y_taps
    )
    columns, column_distances, column_inverse = _first_taps(
        window_x, window_width, width, across_source, x, x_size, x_taps
    )
    if IS_PLANES:
        luminance = _channel(
            data + luma, pitch, 1, lines, line_distances, line_inverse, y_taps,
            columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
        )  # fmt: skip
        red, green, blue = luminance, luminance, luminance
        if has_chroma != 0:
            chroma_pitch = tl.load(about + 4)
            ratio_y = tl.load(about + 5).to(tl.int32)
            ratio_x = tl.load(about + 6).to(tl.int32)
            x_taps = tl.load(about + 16).to(tl.int32)
            y_taps = tl.load(about + 17).to(tl.int32)
            y_end = (y + y_size + ratio_y - 1) // ratio_y
            x_end = (x + x_size + ratio_x - 1) // ratio_x
            y, x = y // ratio_y, x // ratio_x
            lines, line_distances, line_inverse = _first_taps(
                window_y / ratio_y, window_height / ratio_y, height, down_source,
                y, y_end - y, y_taps,
            )  # fmt: skip
            columns, column_distances, column_inverse = _first_taps(
                window_x / ratio_x, window_width / ratio_x, width, across_source,
                x, x_end - x, x_taps,
            )  # fmt: skip
            cb = _channel(
                data + tl.load(about + 2), chroma_pitch, 1, lines, line_distances, line_inverse,
                y_taps, columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
            ) - 128.0  # fmt: skip
            cr = _channel(
                data + tl.load(about + 3), chroma_pitch, 1, lines, line_distances, line_inverse,
                y_taps, columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
            ) - 128.0  # fmt: skip
            red = luminance + 1.402 * cr
            green = luminance - 0.344136 * cb - 0.714136 * cr
            blue = luminance + 1.772 * cb
    else:
        red = _channel(
            data + luma, pitch, 3, lines, line_distances, line_inverse, y_taps,
            columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
        )  # fmt: skip
        green = _channel(
            data + luma + 1, pitch, 3, lines, line_distances, line_inverse, y_taps,
            columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
        )  # fmt: skip
        blue = _channel(
            data + luma + 2, pitch, 3, lines, line_distances, line_inverse, y_taps,
            columns, column_distances, column_inverse, x_taps, TILE_HEIGHT, TILE_WIDTH,
        )  # fmt: skip

    offsets = (row * height + down[:, None]) * width * 3 + 3 * across[None, :]
    _store(red, out, offsets, inside, scale_r, bias_r, IS_BYTES)
    _store(green, out, offsets + 1, inside, scale_g, bias_g, IS_BYTES)
    _store(blue, out, offsets + 2, inside, scale_b, bias_b, IS_BYTES)

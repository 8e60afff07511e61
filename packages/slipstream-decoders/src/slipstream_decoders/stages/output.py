"""``Output``: what a decoding stage writes, with the work of stages after it.

A flip, a conversion to floating point and a normalisation cost next to nothing where the decoder
writes its pixels, and a pass over the batch each anywhere else. So a stage may tell what its work
makes of an output (``Stage.fold``), and ``fused_stages`` lets the decoding stage before it write
that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.context import BatchContext
from slipstream_decoders.pixel_form import UINT8, PixelForm
from slipstream_decoders.stages.base import Stage, StageLike

DrawFlips = Callable[[BatchContext], NDArray[np.bool_]]
"""Which samples of a batch are mirrored left to right, shape (B,), in the context of a stage."""

_DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


@dataclass(frozen=True)
class Output:
    """The form of a decoder's pixels and whether they are mirrored."""

    form: PixelForm = UINT8
    flips: tuple[tuple[str, DrawFlips], ...] = ()
    """Name of a stage, which keys its random stream, and which samples it mirrors."""
    device: torch.device | None = None
    """Where the pixels are written; None: on the CPU."""

    def mirrored(self, name: str, draw: DrawFlips) -> Output:
        """With left and right changed for the samples that ``draw`` says, under a stage's name."""
        return replace(self, flips=(*self.flips, (name, draw)))

    def normalized(
        self, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype, device: Any = None
    ) -> Output | None:
        """With ``(x - mean) / std`` of pixels x in [0, 1], in floating point.

        Parameters
        ----------
        mean, std : sequence of float
            One number a channel.
        dtype : dtype
        device : device, optional
            Where the result has to be.

        Returns
        -------
        Output or None
            None where no decoder writes it: another type than float32 and float16, another number
            of channels than 3, another device than that of the output.
        """
        if not self._is_on(device) or dtype not in _DTYPES or len(mean) != 3:
            return None
        unit = 255.0 if self.form.dtype == np.uint8 else 1.0
        r, g, b = (
            (scale / (unit * s), (bias / unit - m) / s)
            for scale, bias, m, s in zip(self.form.scale, self.form.bias, mean, std, strict=True)
        )
        form = PixelForm(np.dtype(_DTYPES[dtype]), (r[0], g[0], b[0]), (r[1], g[1], b[1]))
        return replace(self, form=form)

    def _is_on(self, device: Any) -> bool:
        """Whether a device, None for any, is that of the output."""
        if device is None:
            return True
        here, there = self.device or torch.device("cpu"), torch.device(device)
        return here.type == there.type and there.index in (None, here.index)

    def drawn_flips(self, context: BatchContext) -> NDArray[np.bool_] | None:
        """Which samples are mirrored by an odd number of stages; None if no stage mirrors."""
        if not self.flips:
            return None
        draws = [draw(context.in_stage(name)) for name, draw in self.flips]
        return np.ascontiguousarray(np.logical_xor.reduce(draws))


def folded(stage: StageLike, output: Output, name: str) -> Output | None:
    """``stage.fold``, unless it is no ``Stage`` or its class replaced ``apply`` alone."""
    if not isinstance(stage, Stage):
        return None
    method = next(each for each in type(stage).__mro__ if {"apply", "fold"} & vars(each).keys())
    return stage.fold(output, name) if "fold" in vars(method) else None

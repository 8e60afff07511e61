"""``PixelForm``: the type and scale in which a decoder writes pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.planar_output import (
    FLOAT16_PIXELS,
    FLOAT32_PIXELS,
    UINT8_PIXELS,
)

_KINDS = {"uint8": UINT8_PIXELS, "float32": FLOAT32_PIXELS, "float16": FLOAT16_PIXELS}


@dataclass(frozen=True)
class PixelForm:
    """uint8 pixels as they are, or ``pixel * scale + bias`` per channel in floating point.

    Raises
    ------
    ValueError
        If no decoder writes the type, or uint8 pixels are to be scaled.
    """

    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))
    """uint8, float32 or float16."""
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue; pixels are 0 to 255."""
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.dtype.name not in _KINDS:
            raise ValueError(f"decoders write {', '.join(_KINDS)}, got {self.dtype}")
        if self.dtype == np.uint8 and (self.scale, self.bias) != ((1.0,) * 3, (0.0,) * 3):
            raise ValueError("uint8 pixels cannot be scaled")

    @property
    def kind(self) -> int:
        """The number that kernels know the type by."""
        return _KINDS[self.dtype.name]

    @cached_property
    def constants(self) -> NDArray[np.uint8]:
        """What kernels read: scales and biases, float32; then each byte's result, (3, 256).

        The results are made in double precision and rounded once.
        """
        scale, bias = np.array(self.scale), np.array(self.bias)
        table = np.arange(256.0) * scale[:, None] + bias[:, None]
        parts = [np.array([scale, bias], np.float32), table.astype(self.dtype)]
        return np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8)


UINT8: Final = PixelForm()
"""Plain RGB."""

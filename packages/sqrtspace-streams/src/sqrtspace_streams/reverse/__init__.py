"""Rows from the last window to the first, though kernels only run forward.

`methods` is what a pipeline offers, `graph` parts a target into what runs forward and what runs
backward, `backward` runs the latter, `sweep` lets the two take turns as a schedule of
`sqrtspace_streams.schedules` says.
"""

from __future__ import annotations

from sqrtspace_streams.reverse.methods import ReverseMethods
from sqrtspace_streams.reverse.sweep import ReverseReport

__all__ = ["ReverseMethods", "ReverseReport"]

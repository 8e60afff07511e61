"""The demonstrations: data that is generated, a pipeline, and the same in plain NumPy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqrtspace_streams.demos.demo import Demo

__all__ = ["NAMES", "load"]

NAMES = ("audio", "logs", "ml")
"""What `load` knows."""


def load(name: str) -> Demo:
    """The demonstration of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in NAMES:
        raise ValueError(f"there is no demonstration {name!r}; there are {list(NAMES)}")
    demo: Demo = importlib.import_module(f"sqrtspace_streams.demos.{name}").DEMO
    return demo

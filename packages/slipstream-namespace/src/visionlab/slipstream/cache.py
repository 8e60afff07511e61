"""Sample caches: every public name of ``slipstream_cache``, and its earlier names."""

import typing as _typing

from visionlab.slipstream import _layers

_layers.require("slipstream_cache")
from slipstream_cache import *
from visionlab.slipstream import OptimizedCache as OptimizedCache

if _typing.TYPE_CHECKING:
    from slipstream_loader import build_yuv420_cache as build_yuv420_cache
    from slipstream_loader import load_yuv420_cache as load_yuv420_cache
else:

    def __getattr__(name):  # two names of the loader, which caches do without
        if name in ("build_yuv420_cache", "load_yuv420_cache"):
            return getattr(_layers.require("slipstream_loader"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

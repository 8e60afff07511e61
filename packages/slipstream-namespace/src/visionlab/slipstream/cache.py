"""Sample caches: every public name of ``slipstream_cache``, and ``OptimizedCache``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_cache")
from slipstream_cache import *
from visionlab.slipstream import OptimizedCache as OptimizedCache

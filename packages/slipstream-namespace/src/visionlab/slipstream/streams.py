"""Long array pipelines: every public name of ``sqrtspace_streams``."""

from visionlab.slipstream import _layers

_layers.require("sqrtspace_streams")
from sqrtspace_streams import *

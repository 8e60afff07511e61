"""Data sets and loaders: every public name of ``slipstream_loader``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_loader")
from slipstream_loader import *

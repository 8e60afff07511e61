"""Decoders and stages: every public name of ``slipstream_decoders``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_decoders")
from slipstream_decoders import *

"""Prepared data sets: every public name of ``slipstream_loader.prep``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_loader")
from slipstream_loader.prep import *

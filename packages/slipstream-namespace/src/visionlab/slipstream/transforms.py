"""Transforms of batches: every transform of ``slipstream_ssl_pipelines``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_ssl_pipelines")
from slipstream_ssl_pipelines.transforms import *

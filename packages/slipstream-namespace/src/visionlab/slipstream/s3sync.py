"""Transfers from and to S3: every public name of ``slipstream_s3sync``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_s3sync")
from slipstream_s3sync import *

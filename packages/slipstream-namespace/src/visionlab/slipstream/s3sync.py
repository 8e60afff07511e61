"""Transfers from and to S3: every public name of ``slipstream_s3sync``."""

from visionlab.slipstream import _layers

_layers.require("slipstream_s3sync")
from slipstream_s3sync import *
from slipstream_s3sync.dataset_sync import _deterministic_local_dir as _deterministic_local_dir

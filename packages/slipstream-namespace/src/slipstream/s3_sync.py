"""A second spelling of ``visionlab.slipstream.s3sync``, by its name of earlier versions."""

from visionlab.slipstream.s3sync import *
from visionlab.slipstream.s3sync import _deterministic_local_dir

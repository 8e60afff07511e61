"""A second spelling of ``visionlab.slipstream.decoders``."""

from visionlab.slipstream.decoders import *

"""A second spelling of ``visionlab.slipstream.transforms``."""

from visionlab.slipstream.transforms import *

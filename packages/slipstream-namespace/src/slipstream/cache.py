"""A second spelling of ``visionlab.slipstream.cache``."""

from visionlab.slipstream.cache import *

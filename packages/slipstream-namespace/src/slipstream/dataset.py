"""A second spelling of ``visionlab.slipstream.loader``, by its name of earlier versions."""

from visionlab.slipstream.loader import *

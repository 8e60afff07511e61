"""A second spelling of ``visionlab.slipstream.prep``."""

from visionlab.slipstream.prep import *

"""A second spelling of ``visionlab.slipstream.pipelines``."""

from visionlab.slipstream.pipelines import *

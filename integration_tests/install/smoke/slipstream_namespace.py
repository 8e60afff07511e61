"""The namespace alone: both spellings import, and a missing layer says what installs it."""

import sys
from importlib import import_module

import slipstream
import visionlab
import visionlab.slipstream

assert visionlab.__file__ is None
assert slipstream.__all__ == visionlab.slipstream.__all__
assert "numpy" not in sys.modules


def message_of(function, *arguments):
    """What the ImportError of a call says."""
    try:
        function(*arguments)
    except ImportError as error:
        return str(error)
    raise AssertionError(f"{arguments} is there without its layer")


for spelling in (visionlab.slipstream, slipstream):
    for name in visionlab.slipstream.__all__:
        assert "Run: pip install visionlab-slipstream-" in message_of(getattr, spelling, name)
missing_presets = message_of(import_module, "visionlab.slipstream.pipelines")
assert missing_presets.endswith("Run: pip install visionlab-slipstream-ssl-pipelines")

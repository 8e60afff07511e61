"""A second spelling of ``visionlab.slipstream``: the same names, the same objects."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visionlab.slipstream import *
else:
    from visionlab.slipstream import __all__, __dir__, __getattr__

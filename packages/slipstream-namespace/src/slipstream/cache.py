"""A second spelling of ``visionlab.slipstream.cache``."""

import typing as _typing

from visionlab.slipstream.cache import *

if not _typing.TYPE_CHECKING:
    from visionlab.slipstream.cache import __getattr__

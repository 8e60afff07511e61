"""Ask glibc to keep freed blocks, so that a tile reuses the memory of the one before.

By default it returns blocks of more than 128 KiB to the system and takes new ones, zeroed page by
page: a pipeline then spends up to half of its time in page faults.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_... of <malloc.h>
_LARGEST = 32 << 20  # what glibc accepts on 64-bit systems
_VARIABLE = "SQRTSPACE_MALLOC"


@functools.cache
def tune_allocator() -> bool:
    """Raise the thresholds, once in a process; False where there is no glibc.

    ``SQRTSPACE_MALLOC=system`` in the environment leaves the allocator alone.
    """
    if sys.platform != "linux" or os.environ.get(_VARIABLE) == "system":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    done = bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 2 * _LARGEST))
    logging.getLogger(__name__).debug("malloc thresholds raised: %s", done)
    return done

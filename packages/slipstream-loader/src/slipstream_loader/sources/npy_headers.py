"""NumPy's parser of ``.npy`` headers, by one thread at a time.

It uses ``ast.literal_eval``, whose depth is counted for all threads together in CPython 3.11: if
the garbage collector lets another thread parse in the middle of it, it fails with a SystemError.
"""

from __future__ import annotations

import os
import threading
from typing import Final

PARSING: Final = threading.Lock()
"""Held by whoever lets NumPy read a header."""

if hasattr(os, "register_at_fork"):  # a child must not inherit a lock that nobody gives back
    os.register_at_fork(
        before=PARSING.acquire, after_in_parent=PARSING.release, after_in_child=PARSING.release
    )

"""Status numbers of kernels; ``DecodeStatus`` says what they mean for a sample."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""The output is written; with others it is not."""
CORRUPT: Final = 1
UNREADABLE: Final = 2
SIZE_MISMATCH: Final = 3
UNSUPPORTED: Final = 4
BAD_BOX: Final = 5
WORKSPACE: Final = 6

"""Errors of slipstream-decoders.

DecodeError
├── CorruptImageError (ValueError)        the payload is damaged or not an image
├── UnsupportedImageError (ValueError)    the payload is sound, but no engine takes it
└── BackendUnavailableError (ImportError) a library that was asked for is not installed
"""

from __future__ import annotations

from collections.abc import Sequence


class DecodeError(Exception):
    """Base of all errors of this package."""


class _SampleError(DecodeError, ValueError):
    """An error about some samples of a batch; ``sample_ids`` names them."""

    def __init__(self, message: str, sample_ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.sample_ids = list(sample_ids)


class CorruptImageError(_SampleError):
    """The payload is damaged, or it is not an image."""


class UnsupportedImageError(_SampleError):
    """The payload is sound, but no engine at hand takes it."""


class BackendUnavailableError(DecodeError, ImportError):
    """A library that was asked for is not installed; the message says how to get it."""

"""Errors of slipstream-ssl-pipelines.

TransformError
├── ImageBatchError (ValueError)   the batch is not what the transform takes
└── ReplayError (RuntimeError)     there are no parameters to apply again, or they do not fit
"""

from __future__ import annotations


class TransformError(Exception):
    """Base of all errors of this package."""


class ImageBatchError(TransformError, ValueError):
    """The batch has another shape, size, type or number of channels than the transform takes."""


class ReplayError(TransformError, RuntimeError):
    """Parameters cannot be applied again: nothing was drawn yet, or the batch has another size."""

"""What can go wrong between a source of samples and a batch.

::

    LoaderError (RuntimeError)
    ├── SourceError (ValueError)               the source cannot be opened or read
    │   └── EmptyDatasetError                  the source opened, but it has no samples
    ├── SampleReadError (OSError)              one sample of a source cannot be read
    ├── RemoteError (OSError)                  an object store cannot be reached or fails
    │   ├── RemoteNotFoundError (FileNotFoundError)   no such object or bucket
    │   └── RemoteAccessError (PermissionError)       it may not be read
    ├── DatasetArgumentError (TypeError)       not exactly one source was given to a data set
    ├── ImageDecodeError (ValueError)          an image is damaged or is no image
    ├── StateError (ValueError)                a saved state does not fit this loader
    ├── ExportError (ValueError)               samples have no place in the format asked for
    └── StageError                             a stage failed; names the stage, field and samples

Each class is also the builtin in brackets, so callers can catch it without this import. Errors of
the layers below (``slipstream_cache.errors``, ``slipstream_decoders.errors``) pass unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MAX_NAMED_SAMPLES = 8


class LoaderError(RuntimeError):
    """Base class of every error that this package raises itself."""


class SourceError(LoaderError, ValueError):
    """A source cannot be opened, cannot be read, or is of an unsupported kind."""


class EmptyDatasetError(SourceError):
    """A source opened, but it has no samples."""


class SampleReadError(LoaderError, OSError):
    """One sample of a source cannot be read; a build reports all such samples together."""


class RemoteError(LoaderError, OSError):
    """An object store cannot be reached, failed several times, or its object was replaced."""


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """There is no such object or bucket."""


class RemoteAccessError(RemoteError, PermissionError):
    """An object may not be read, or there are no credentials."""


class DatasetArgumentError(LoaderError, TypeError):
    """A data set was given no source, or more than one."""


class ImageDecodeError(LoaderError, ValueError):
    """The bytes of an image are damaged, or are not an image that can be read."""


class StateError(LoaderError, ValueError):
    """A saved state is of another data set, order or version than this loader's."""


class ExportError(LoaderError, ValueError):
    """Samples cannot be written in the format that was asked for, or not to that place."""


class StageError(LoaderError):
    """A stage of a pipeline failed; the original error is its ``__cause__``.

    Parameters
    ----------
    stage : str
        Name of the stage.
    field : str or None
        The field whose pipeline the stage belongs to; None for a stage of whole batches.
    sample_ids : sequence of int
        The samples that the stage was working on.
    reason : str
        What happened.
    """

    def __init__(
        self, stage: str, field: str | None, sample_ids: Sequence[int], reason: str
    ) -> None:
        self.stage = stage
        self.field = field
        self.sample_ids = [int(sample_id) for sample_id in sample_ids]
        self.reason = reason
        place = f" of field {field!r}" if field is not None else ""
        super().__init__(
            f"stage {stage}{place} failed on {_name_samples(self.sample_ids)}: {reason}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stage, self.field, self.sample_ids, self.reason)


def _name_samples(sample_ids: Sequence[int]) -> str:
    named = ", ".join(str(sample_id) for sample_id in sample_ids[:_MAX_NAMED_SAMPLES])
    if len(sample_ids) == 1:
        return f"sample {named}"
    if len(sample_ids) > _MAX_NAMED_SAMPLES:
        return f"{len(sample_ids)} samples ({named}, ...)"
    return f"samples {named}"

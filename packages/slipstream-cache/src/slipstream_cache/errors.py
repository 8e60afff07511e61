"""The errors of this package.

::

    CacheError
    ├── CacheNotFoundError      FileNotFoundError   no published cache in the directory
    ├── CacheExistsError        FileExistsError     the directory holds something else
    ├── CacheWriteError         OSError             a part or manifest could not be written
    ├── CorruptCacheError       OSError             a file is missing, cut off or inconsistent
    ├── ManifestError           ValueError          the manifest is not one of ours
    ├── UnsupportedVersionError ValueError          a cache of another format version
    ├── FieldNameError          ValueError          a name that cannot be a field's
    ├── FieldTypeError          TypeError           a value that its field cannot hold
    ├── FieldNotFoundError      LookupError         no such field
    ├── IndexNotFoundError      LookupError         no usable value index of the field
    ├── DerivedNotFoundError    LookupError         no usable derived field
    ├── SampleIdError           IndexError          a sample id out of range
    ├── SourceReadError         OSError             samples that the source could not read
    ├── RepairError             RuntimeError        damage that this source cannot repair
    ├── BuildWorkerError        RuntimeError        a worker of an executor died or cannot work
    └── UnsupportedImageError   ValueError          an image that needs a transcode

Each one also is the builtin in the second column, so callers need no import to catch it.
"""

from __future__ import annotations

from collections.abc import Sequence


class CacheError(Exception):
    """Base of all errors of slipstream-cache."""


class CacheNotFoundError(CacheError, FileNotFoundError):
    """There is no published cache in the directory."""


class CacheExistsError(CacheError, FileExistsError):
    """The directory to build in holds another cache or other files."""


class CacheWriteError(CacheError, OSError):
    """A cache could not be written: no space, no permission, a read-only file system."""


class CorruptCacheError(CacheError, OSError):
    """A file of a published cache is missing, has another size, or contradicts itself."""


class ManifestError(CacheError, ValueError):
    """A manifest is not JSON, not a slipcache's, or inconsistent."""


class UnsupportedVersionError(CacheError, ValueError):
    """The cache was written in a format version that this package does not read."""


class FieldNameError(CacheError, ValueError):
    """A field's name cannot be a file name on every platform, or clashes with another."""


class FieldTypeError(CacheError, TypeError):
    """A value has another type, dtype or shape than its field."""


class FieldNotFoundError(CacheError, LookupError):
    """The cache or source has no field of that name (or not of the needed kind)."""


class IndexNotFoundError(CacheError, LookupError):
    """The field has no value index, or only one of another state of the cache."""


class DerivedNotFoundError(CacheError, LookupError):
    """There is no such derived field, or only one of another state or recipe."""


class SampleIdError(CacheError, IndexError):
    """A sample id is negative or not below the number of samples."""


class SourceReadError(CacheError, OSError):
    """Samples could not be read from the source; the cache was not published."""

    def __init__(self, message: str, sample_ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.sample_ids = list(sample_ids)
        """Ids of the first samples that failed, in order."""


class RepairError(CacheError, RuntimeError):
    """Damaged parts cannot be made again from this source."""


class BuildWorkerError(CacheError, RuntimeError):
    """A worker of the build's executor died, or cannot be given its work."""


class UnsupportedImageError(CacheError, ValueError):
    """An image is not a plain JPEG, and there is no transcode to make it one."""

    def __init__(self, message: str, sample_ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.sample_ids = list(sample_ids)
        """The sample that holds the image."""

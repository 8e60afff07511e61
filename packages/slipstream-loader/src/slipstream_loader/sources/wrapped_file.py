"""What stands in front of a remote file: the same file, read in another way."""

from __future__ import annotations

from typing import Final

from slipstream_loader.sources.stored_file import StoredFile


class WrappedFile:
    """A remote file; with a ``read`` of its own, a subclass is a ``StoredFile`` itself.

    Parameters
    ----------
    file : StoredFile
        What is read.
    """

    is_remote: Final = True

    def __init__(self, file: StoredFile) -> None:
        self._file = file

    @property
    def uri(self) -> str:
        """See ``StoredFile``."""
        return self._file.uri

    @property
    def size(self) -> int:
        """Bytes."""
        return self._file.size

    def identity(self) -> str:
        """See ``StoredFile``."""
        return self._file.identity()

"""What stands in front of a remote file: the same file, read in another way."""

from __future__ import annotations

from typing import Any, Final

from slipstream_loader.after_fork import restart_now_and_after_fork
from slipstream_loader.sources.stored_file import StoredFile


class WrappedFile:
    """A remote file; with a ``read`` of its own, a subclass is a ``StoredFile`` itself.

    It can be pickled, without what ``restart`` makes.

    Parameters
    ----------
    file : StoredFile
        What is read.
    """

    is_remote: Final = True

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        restart_now_and_after_fork(self)

    def restart(self) -> None:
        """See ``after_fork``."""
        raise NotImplementedError

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

    def __getstate__(self) -> dict[str, Any]:
        return {"_file": self._file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._file = state["_file"]
        restart_now_and_after_fork(self)

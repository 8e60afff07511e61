"""One state on disk that a crash cannot damage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqrtspace_streams.errors import ResumeError
from sqrtspace_streams.resume.codec import decode, encode

_STATE, _LOCK = "state.bin", "lock"


class Journal:
    """Keeps the last state that was committed, in a directory of its own.

    A state is written to another name, brought to the disk, and renamed: whenever the process or
    the machine stops, the directory has the old state or the new one, whole.

    Parameters
    ----------
    directory : path
        Made if it is not there.

    Raises
    ------
    ResumeError
        If the directory holds something else.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._path = self.directory / _STATE
        names = {path.name for path in self.directory.iterdir()}
        if names and not names & {_STATE, _LOCK}:
            raise ResumeError(
                f"{self.directory} holds {sorted(names)[:3]} and no run: give an empty directory"
            )

    def load(self) -> Any:
        """The state that was committed last, or None.

        Raises
        ------
        DamagedResumeError
            If it was altered or cut off.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return decode(data, str(self._path))

    def commit(self, state: Any) -> None:
        """Replace the state; when this returns, a crash no longer takes it back."""
        write_atomically(self._path, encode(state))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, as long as this one lives.

        Raises
        ------
        ResumeError
            If another process is in.
        """
        with open(self.directory / _LOCK, "ab") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                raise ResumeError(f"{self.directory} is in use by another process") from error
            yield


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file of which nobody ever sees a part, and bring it to the disk."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk, where the system knows that."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file; the lock goes with the process."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

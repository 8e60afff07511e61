"""Where the bytes of downloads are until they are right: a directory beside the files.

Nothing but whole files ever gets into the directories that they are for, whoever is killed, and
whatever an s5cmd still writes that has lost its caller.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import xxhash

_OWN: Final = "run-"
_STALE_S: Final = 60.0
_TRIES: Final = 5


class Incoming:
    """A directory of files that are not right yet, which goes when all of them are.

    Parameters
    ----------
    directory : Path
        On the file system of the files. Those who copy the same share it.

    Notes
    -----
    As a context, it holds a directory of one run, whose files nobody else writes. What killed runs
    have left there is removed; a run that still writes loses it only if it is slower than this one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = directory

    def __enter__(self) -> Incoming:
        for left in self._directory.glob(f"{_OWN}*"):
            if _is_stale(left):
                shutil.rmtree(left, ignore_errors=True)
        for _ in range(_TRIES):
            self._directory.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process has finished, and removed it
                self._own = Path(tempfile.mkdtemp(prefix=_OWN, dir=self._directory))
                break
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._own, ignore_errors=True)

    def path_for(self, file: Path) -> Path:
        """Where this run brings a file."""
        return self._own / _token(file)

    def partial_for(self, file: Path) -> Path:
        """Where a file grows in pieces, in this run and the next ones."""
        return self._directory / f"{_token(file)}.partial"

    def record_for(self, file: Path) -> Path:
        """The record of its pieces that are complete."""
        return self._directory / f"{_token(file)}.pieces"

    def remove_partial(self, file: Path) -> None:
        """Begin a file anew."""
        for path in (self.partial_for(file), self.record_for(file)):
            with suppress(FileNotFoundError):
                path.unlink()

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _token(file: Path) -> str:
    """A short name for any file, the same in each run."""
    return xxhash.xxh3_64_hexdigest(os.fsencode(file.absolute()))


def _is_stale(run: Path) -> bool:
    """Whether nothing was written for a while."""
    times = [0.0]
    with suppress(FileNotFoundError):  # another process has removed it
        for path in (run, *run.iterdir()):
            with suppress(FileNotFoundError):  # a file that was right, and is in its place now
                times.append(path.stat().st_mtime)
    return time.time() - max(times) > _STALE_S

"""Files that appear under their names when they are complete, and never replace another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from slipstream_cache.publish import name_file, temporary_path
from slipstream_loader.errors import ExportError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write; it is synced and gets its name when the block ends without error.

    Raises
    ------
    ExportError
        There is something of this name already.
    """
    taken = ExportError(f"{path} exists already: choose another place, or remove it first")
    if path.exists():
        raise taken
    temporary = temporary_path(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not name_file(temporary, path):
            raise taken
    finally:
        temporary.unlink(missing_ok=True)


def new_folder(path: Path) -> Path:
    """Make a folder to write into; it may exist, but must be empty.

    Raises
    ------
    ExportError
        It holds something.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ExportError(f"{path} exists already and is not an empty folder: choose another place")
    path.mkdir(parents=True, exist_ok=True)
    return path

"""torchvision's ``ImageFolder`` objects: their files, in place of the pixels decoded from them.

torchvision's loader forgets the file when it converts an image to RGB, so that the pixels would
have to be stored again. What the object lists are files, and nothing changes them where it has no
transform and its own loader.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.file_names import printable, too_large
from slipstream_loader.sources.stored_file import size_of_file

_FOLDER: Final = ("torchvision.datasets.folder", "DatasetFolder")
_SUBSET: Final = ("torch.utils.data.dataset", "Subset")
_LOADERS: Final = ("default_loader", "pil_loader")
_TRANSFORMS: Final = ("transform", "transforms", "target_transform")
_SCAN_THREADS: Final = 8
_FILES_AT_ONCE: Final = 1000


class FolderFiles:
    """The files and labels that a torchvision ``DatasetFolder`` lists, as a map-style data set.

    Parameters
    ----------
    root : str
        The folder.
    samples : sequence of (str, int)
        Path and label of each sample.
    """

    recipe: Final = "torchvision folder 1"
    """What is made of the files, for a fingerprint."""

    def __init__(self, root: str, samples: Sequence[tuple[str, Any]]) -> None:
        self.root, self._samples = root, samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> tuple[dict[str, Any], Any]:
        path, label = self._samples[index]
        try:
            problem = too_large(size_of_file(Path(path)))
        except SourceError as error:
            raise SampleReadError(str(error)) from error
        if problem is not None:
            raise SampleReadError(f"{self.describe(index)} in {self.root} {problem}")
        return {"bytes": Path(path).read_bytes(), "path": None}, label

    def num_bytes(self, index: int, /) -> int | None:
        """Size of a file; None if it cannot be told."""
        try:
            return os.stat(self._samples[index][0]).st_size
        except OSError:
            return None

    def fingerprint(self) -> str:
        """Hash of relative paths, sizes and labels in their order: 64 hexadecimal characters.

        Raises
        ------
        SourceError
            The size of a file cannot be told.
        """
        digest = hashlib.sha256(f"{self.recipe}\0".encode())
        chunks = range(0, len(self), _FILES_AT_ONCE)
        with ThreadPoolExecutor(_SCAN_THREADS, "slipstream-scan") as pool:
            for entries in pool.map(self._entries, chunks):
                digest.update(entries)
        return digest.hexdigest()

    def describe(self, index: int, /) -> str:
        """Path of sample `index` relative to the root, with forward slashes."""
        return printable(self._relative(self._samples[index][0]))

    def _relative(self, path: str) -> str:
        begin = os.path.join(self.root, "")
        relative = path[len(begin) :] if path.startswith(begin) else os.path.relpath(path, begin)
        return relative.replace(os.sep, "/")

    def _entries(self, begin: int) -> bytes:
        rows = self._samples[begin : begin + _FILES_AT_ONCE]
        return b"".join(
            b"%b\0%d\0%d\0" % (os.fsencode(self._relative(path)), _size(path), label)
            for path, label in rows
        )


def files_listed_by(samples: Any) -> FolderFiles | None:
    """The files of an ``ImageFolder``, or of a ``Subset`` of one.

    Parameters
    ----------
    samples : object
        Any map-style data set.

    Returns
    -------
    FolderFiles or None
        None if it is another kind of object, or changes what is in its files: it has transforms, a
        loader of its own, or methods of its own; and if labels are not integers.
    """
    if _name_of(type(samples)) == _SUBSET:
        inner = files_listed_by(samples.dataset)
        if inner is None:
            return None
        return FolderFiles(inner.root, [inner._samples[int(i)] for i in samples.indices])
    kind: Any = type(samples)
    base: Any = next((found for found in kind.__mro__ if _name_of(found) == _FOLDER), None)
    if base is None or kind.__getitem__ is not base.__getitem__:
        return None
    module = sys.modules[base.__module__]
    if samples.loader not in [getattr(module, name) for name in _LOADERS]:
        return None
    if any(getattr(samples, name, None) is not None for name in _TRANSFORMS):
        return None
    if not all(_is_integer(label) for _, label in samples.samples):
        return None
    return FolderFiles(os.fspath(samples.root), samples.samples)


def has_transform(samples: Any) -> bool:
    """Tell whether a data set of torchvision's convention, or its subset, changes its images."""
    while _name_of(type(samples)) == _SUBSET:
        samples = samples.dataset
    transform, both, of_target = (getattr(samples, name, None) for name in _TRANSFORMS)
    return transform is not None or (both is not None and of_target is None)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise SourceError(f"{printable(path)} cannot be opened: {error.strerror}") from error


def _is_integer(label: object) -> bool:
    return isinstance(label, (int, np.integer)) and not isinstance(label, bool)


def _name_of(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__

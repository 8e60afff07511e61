"""Which images an archive of class folders holds, in the order of their data.

Classes are those that ``ImageFolder`` would find after unpacking: the folders at the top. Folders
that only wrap them, such as ``train/`` around all classes, do not count.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources.file_listing import FileListing
from slipstream_loader.sources.file_names import (
    IMAGE_EXTENSIONS,
    PackedNames,
    is_image_name,
    printable,
    report,
    too_large,
)
from slipstream_loader.sources.tar_headers import TarMember

_NAMES_AT_ONCE: Final = 1 << 16


def list_images(members: Iterable[TarMember], where: str) -> FileListing:
    """Find the images of an archive.

    Parameters
    ----------
    members : iterable of TarMember
    where : str
        The archive, for messages.

    Returns
    -------
    FileListing
        In the order of the data. Of several members of one name the last one counts, as when
        unpacking; a hard link is the member that it names.

    Raises
    ------
    SourceError
        When a name is absolute or leads upwards, an image is a symbolic link, a device or too
        large, a hard link leads nowhere, or a class folder holds no image; all are reported
        together. `EmptyDatasetError` when there is no image.
    """
    found = _Found()
    for member in members:
        found.add(member)
    if found.problems:
        raise SourceError(report(f"{where} is not safe or not readable", found.problems))
    return found.listing(where)


class _Found:
    """What was found so far, in little memory."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._folders: dict[str, int] = {}
        self._with_images: set[int] = set()
        self._data = bytearray()
        self._columns = {name: array("q") for name in ("ends", "folders", "starts", "sizes")}
        self._hashes = array("Q")

    def add(self, member: TarMember) -> None:
        """Take one more member."""
        name, problem = _safe_name(member.name)
        if problem is None and member.kind == "directory":
            self._folder(name)
            return
        if problem is None and not is_image_name(name):
            return
        start, size = member.start, member.size
        if problem is None and member.kind == "other":
            problem = f"is {member.target}"
        elif problem is None and member.kind == "hard link":
            place = self._find(_safe_name(member.target)[0])
            problem = f"is a link to {member.target!r}, which is no image before it"
            if place is not None:
                start, size = (self._columns[key][place] for key in ("starts", "sizes"))
                problem = None
        elif problem is None:
            problem = too_large(size)
        if problem is not None:
            self.problems.append(f"{printable(member.name)} {problem}")
            return
        folder = self._folder(name.rpartition("/")[0])
        self._with_images.add(folder)
        encoded = os.fsencode(name)
        self._data += encoded
        self._hashes.append(_hash(encoded))
        row = {"ends": len(self._data), "folders": folder, "starts": start, "sizes": size}
        for key, value in row.items():
            self._columns[key].append(value)

    def listing(self, where: str) -> FileListing:
        """Order the images and find their classes."""
        if not self._hashes:
            extensions = ", ".join(IMAGE_EXTENSIONS)
            raise EmptyDatasetError(
                f"no images in {where}; looked for names ending in {extensions}"
            )
        columns = {key: np.frombuffer(values, np.int64) for key, values in self._columns.items()}
        root = _find_root(self._folders, self._with_images)
        classes, label_of_folder = _find_classes(self._folders, self._with_images, root, where)
        labels = label_of_folder[columns["folders"]]
        rows = self._last_of_each_name(columns["ends"])
        rows = rows[labels[rows] >= 0]
        rows = rows[np.argsort(columns["starts"][rows], kind="stable")]
        names = self._names(columns["ends"], rows, len(os.fsencode(root)) + 1 if root else 0)
        return FileListing(
            names, columns["sizes"][rows], labels[rows], columns["starts"][rows], classes
        )

    def _folder(self, name: str) -> int:
        return self._folders.setdefault(name, len(self._folders))

    def _encoded(self, row: int) -> bytes:
        ends = self._columns["ends"]
        return bytes(self._data[ends[row - 1] if row else 0 : ends[row]])

    def _find(self, name: str) -> int | None:
        """The last image of a name. Links are rare: this looks through all hashes."""
        encoded = os.fsencode(name)
        hashes = np.frombuffer(self._hashes, np.uint64) if self._hashes else np.empty(0, np.uint64)
        rows = np.flatnonzero(hashes == np.uint64(_hash(encoded)))
        del hashes  # or the array could not grow
        matching = [row for row in rows.tolist() if self._encoded(row) == encoded]
        return matching[-1] if matching else None

    def _last_of_each_name(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows whose names do not come again."""
        hashes = np.frombuffer(self._hashes, np.uint64)
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        dropped = np.zeros(ends.size, bool)
        for place in same.tolist():
            earlier, later = int(order[place]), int(order[place + 1])
            dropped[earlier] |= self._encoded(earlier) == self._encoded(later)
        return np.flatnonzero(~dropped)

    def _names(self, ends: NDArray[np.int64], rows: NDArray[np.int64], prefix: int) -> PackedNames:
        """The names of some rows, without so many bytes at their beginning."""
        begins = np.concatenate([[0], ends[:-1]])[rows] + prefix
        stops = ends[rows]
        data = bytearray()
        for first in range(0, rows.size, _NAMES_AT_ONCE):
            some = slice(first, first + _NAMES_AT_ONCE)
            places = zip(begins[some].tolist(), stops[some].tolist(), strict=True)
            data += b"".join(self._data[begin:stop] for begin, stop in places)
        return PackedNames(np.frombuffer(data, np.uint8), np.cumsum(stops - begins))


def _hash(encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def _safe_name(name: str) -> tuple[str, str | None]:
    """A name without ``./``, and what is wrong with it."""
    if name.startswith("/") or "\0" in name:
        return name, "is an absolute path or holds a zero byte"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        return name, "leads out of the archive"
    return "/".join(parts), None


def _find_root(folders: Iterable[str], with_images: set[int]) -> str:
    """The folder that holds the class folders, or all images."""
    paths = [name.split("/") if name else [] for name in folders]
    filled = {tuple(path) for number, path in enumerate(paths) if number in with_images}
    root: tuple[str, ...] = ()
    while root not in filled:
        depth = len(root)
        tops = {path[depth] for path in paths if len(path) > depth and tuple(path[:depth]) == root}
        if len(tops) != 1 or (*root, *tops) in filled:
            break
        root = (*root, *tops)
    return "/".join(root)


def _find_classes(
    folders: Iterable[str], with_images: set[int], root: str, where: str
) -> tuple[list[str], NDArray[np.int64]]:
    """Class names, and for each folder its label; -1 for images beside the class folders."""
    prefix = f"{root}/" if root else ""
    tops = [
        name[len(prefix) :].partition("/")[0] if name != root and name.startswith(prefix) else ""
        for name in folders
    ]
    names = sorted(set(tops) - {""})
    used = {tops[number] for number in with_images}
    empty = [printable(name) for name in names if name not in used]
    if empty:
        raise SourceError(
            report(f"class folders without images in {where}", empty)
            + "\nremove them from the archive, or add images"
        )
    numbers = {name: label for label, name in enumerate(names)}
    labels = [numbers[top] if top else (0 if not names else -1) for top in tops]
    return [printable(name) for name in names], np.array(labels, np.int64)

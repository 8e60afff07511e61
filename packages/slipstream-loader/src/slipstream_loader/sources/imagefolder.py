"""Folders of images: one folder for each class, or all images in one folder.

Classes, accepted extensions and the order of the files are those of
``torchvision.datasets.ImageFolder``, so that labels and sample ids agree with it. Unlike it, a
folder that cannot be listed, a broken link and a link to its own parent are errors, all reported
together, where torchvision leaves them out or goes round in circles.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources.file_listing import FileListing
from slipstream_loader.sources.file_names import (
    IMAGE_EXTENSIONS,
    PackedNames,
    is_image_name,
    printable,
    report,
    too_large,
)
from slipstream_loader.sources.shared_scan import scan_once_per_node

_FINGERPRINT_RECIPE: Final = b"imagefolder 1\0"
_SCAN_THREADS: Final = 8
"""Classes listed at once: hides the latency of network file systems."""


class ImageFolderSource:
    r"""The images of a folder, labelled by the class folder that they are in.

    A sample is ``{image: bytes, label: int, index: int, path: str}``: the bytes of the file, the
    position of its class in `classes`, its sample id, and ``"class/file"`` relative to the root
    with forward slashes. A folder that holds images and no folders is served too, without
    ``label``.

    Files are ordered by class, then by folder, then by name, on every platform as torchvision does
    on Linux. Names that are not valid UTF-8 are read as they are; in ``path`` and `classes` their
    odd bytes are written ``\xNN``.

    Parameters
    ----------
    root : str or path
        The folder.
    cache_root : path, optional
        Where the ranks of a job share one listing; default: the caches' root.

    Raises
    ------
    SourceError
        When the root is no directory, a class folder holds no image, or a folder or link cannot be
        read; `EmptyDatasetError` when there is no image at all.

    Notes
    -----
    The folder is scanned here; of the ranks of a job on one node, two scan it at most. Reading
    samples is safe from several threads, and the object can be pickled.
    """

    kind: Final = "imagefolder"

    def __init__(self, root: str | os.PathLike[str], *, cache_root: Path | None = None) -> None:
        self.root = Path(root).expanduser().absolute()
        self._listing = scan_once_per_node(self.root, lambda: _list_root(self.root), cache_root)
        self.classes: list[str] = self._listing.classes
        """Names of the classes, sorted; empty for a folder without class folders."""
        self.class_to_idx: dict[str, int] = {name: i for i, name in enumerate(self.classes)}
        """Class name -> label."""

    @property
    def uri(self) -> str:
        """The absolute path of the folder."""
        return str(self.root)

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        number = FieldSpec("dense", dtype="<i8")
        fields = {"image": FieldSpec("image")}
        if self.classes:
            fields["label"] = number
        return {**fields, "index": number, "path": FieldSpec("ragged", content="str")}

    @property
    def labels(self) -> NDArray[np.int64]:
        """Shape (N,): the label of each sample; zeros where there are no classes."""
        return self._listing.labels

    @property
    def mean_sample_bytes(self) -> int:
        """As the folder tells it."""
        return int(self._listing.sizes.mean())

    def sample_bytes(self, index: int, /) -> int:
        """Bytes of a file."""
        return int(self._listing.sizes[index])

    def __len__(self) -> int:
        return len(self._listing)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.root}")
        sample: dict[str, Any] = {"image": self._read(index)}
        if self.classes:
            sample["label"] = int(self._listing.labels[index])
        return {**sample, "index": int(index), "path": self.describe(index)}

    def fingerprint(self) -> str:
        """Hash of the sorted relative paths and sizes of the files: 64 hexadecimal characters."""
        return self._listing.fingerprint

    def describe(self, index: int, /) -> str:
        """Path of sample `index` relative to the root, with forward slashes."""
        return printable(self._listing.names[index])

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"ImageFolderSource({str(self.root)!r}: {len(self)} images{classes})"

    def _read(self, index: int) -> bytes:
        with open(os.path.join(self.root, self._listing.names[index]), "rb") as file:
            data = file.read()
        expected = int(self._listing.sizes[index])
        if len(data) != expected:
            raise SampleReadError(
                f"{self.describe(index)} in {self.root} has changed: it had {expected} bytes when "
                f"the folder was scanned and has {len(data)} now; open the folder again"
            )
        return data


@dataclass
class _Files:
    """Image files in order, with paths relative to the root."""

    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, folder: str, images: Sequence[tuple[str, int]], label: int) -> None:
        prefix = f"{folder}/" if folder else ""
        self.paths += [prefix + name for name, _ in images]
        self.sizes += [size for _, size in images]
        self.labels += [label] * len(images)


@dataclass
class _Listing:
    """What one folder holds: sorted images with their sizes in bytes, and folders."""

    images: list[tuple[str, int]]
    folders: list[str]
    problems: list[str]


def _list_root(root: Path) -> FileListing:
    """Scan a folder, and hash what was found."""
    class_names, files = _scan_root(root)
    entries = sorted(zip(map(os.fsencode, files.paths), files.sizes, strict=True))
    digest = hashlib.sha256(_FINGERPRINT_RECIPE)
    for entry in entries:
        digest.update(b"%b\0%d\0" % entry)
    return FileListing(
        names=PackedNames.pack(files.paths),
        sizes=np.array(files.sizes, np.int64),
        labels=np.array(files.labels, np.int64),
        starts=np.empty(0, np.int64),
        classes=[printable(name) for name in class_names],
        fingerprint=digest.hexdigest(),
    )


def _scan_root(root: Path) -> tuple[list[str], _Files]:
    """Find the class names and the image files, both in order."""
    if not root.is_dir():
        found = "is not a directory" if root.exists() else "does not exist"
        raise SourceError(f"{root} {found}; expected a folder of images")
    top = _list_folder(str(root), "")
    files = _Files()
    problems = list(top.problems)
    if not top.folders:
        files.add("", top.images, label=0)
    empty: list[str] = []
    with ThreadPoolExecutor(_SCAN_THREADS, thread_name_prefix="slipstream-scan") as pool:
        tree = pool.map(lambda name: _list_tree(str(root), name), top.folders)
        for label, (name, listings) in enumerate(zip(top.folders, tree, strict=True)):
            for folder, listing in sorted(listings.items()):
                files.add(folder, listing.images, label)
                problems += listing.problems
            if not any(listing.images or listing.problems for listing in listings.values()):
                empty.append(printable(name))
    if problems:
        raise SourceError(report(f"cannot read everything in {root}", sorted(problems)))
    _check_images(root, files, empty, len(top.images))
    return top.folders, files


def _check_images(root: Path, files: _Files, empty: list[str], num_in_root: int) -> None:
    extensions = ", ".join(IMAGE_EXTENSIONS)
    if not files.paths and not num_in_root:
        raise EmptyDatasetError(f"no images in {root}; looked for files ending in {extensions}")
    if empty:
        ignored = (
            f"\n({num_in_root} images lie directly in {root}; they count only where there are no "
            "folders beside them)"
            if num_in_root
            else ""
        )
        raise SourceError(
            report(f"class folders without images in {root} (files ending in {extensions})", empty)
            + f"\nremove them, or add images{ignored}"
        )


def _list_tree(root: str, class_name: str) -> dict[str, _Listing]:
    """List a class folder and all folders below it; keys are paths relative to the root."""
    listings: dict[str, _Listing] = {}
    pending = [class_name]
    while pending:
        folder = pending.pop()
        listings[folder] = _list_folder(root, folder)
        pending += [f"{folder}/{name}" for name in listings[folder].folders]
    return listings


def _list_folder(root: str, folder: str) -> _Listing:
    listing = _Listing([], [], [])
    path = os.path.join(root, folder)
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    _list_entry(entry, path, listing)
                except OSError as error:
                    name = f"{folder}/{entry.name}".lstrip("/")
                    listing.problems.append(f"{printable(name)}: {error.strerror}")
    except OSError as error:
        listing.problems.append(f"{printable(folder) or root}: {error.strerror}")
    listing.images.sort()
    listing.folders.sort()
    return listing


def _list_entry(entry: os.DirEntry[str], parent: str, listing: _Listing) -> None:
    if entry.is_dir():
        if entry.is_symlink() and _is_inside(parent, os.path.realpath(entry.path)):
            raise OSError(0, "link to a folder that it is in")
        listing.folders.append(entry.name)
    elif is_image_name(entry.name):
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        problem = too_large(status.st_size)
        if problem is not None:
            raise OSError(0, problem)
        listing.images.append((entry.name, status.st_size))


def _is_inside(folder: str, ancestor: str) -> bool:
    """Tell whether `ancestor`, a resolved path, is `folder` or one of the folders above it."""
    real = os.path.realpath(folder)
    return real == ancestor or real.startswith(ancestor.rstrip(os.sep) + os.sep)

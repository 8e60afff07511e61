"""Archives of class folders of images, read where they lie: never unpacked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec, default_cache_root
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.file_listing import (
    FileListing,
    keep_listing,
    listing_root,
    load_listing,
)
from slipstream_loader.sources.file_names import printable
from slipstream_loader.sources.forward_file import open_forward, sniff_compression
from slipstream_loader.sources.kept_file import KeptFile
from slipstream_loader.sources.stored_file import StoredFile, open_stored_file
from slipstream_loader.sources.tar_headers import iter_members
from slipstream_loader.sources.tar_listing import list_images
from slipstream_loader.sources.tar_members import MemberReader

TAR_EXTENSIONS: Final = (".tar", ".tar.gz", ".tgz", ".tbz2", ".txz", ".bz2", ".xz")
"""Endings of names that are taken for archives."""

_RECIPE: Final = "tar 1"
_DOWNLOADS: Final = "downloads"


def is_archive(location: str) -> bool:
    """Tell by the name of a path or URL whether it is an archive."""
    return location.split("?")[0].lower().endswith(TAR_EXTENSIONS)


class TarSource:
    """The images of a tar archive, labelled by the class folder that they are in.

    Samples are those of ``ImageFolderSource``: ``{image, label, index, path}``, with the labels
    that the unpacked folder would give. Their order is that of the archive. A folder that wraps
    all class folders (``train/``) does not count; an archive without class folders is served
    without ``label``.

    Parameters
    ----------
    location : str, path or StoredFile
        The archive: a file, or a URL ``s3://``, ``http://``, ``https://``, which may be open
        already. Plain, gzip, bzip2 or xz, told by its content.
    storage_options : mapping, optional
        Credentials and endpoint of an ``s3://`` URL; see ``open_object_store``.
    cache_root : path, optional
        Where hash and listing of the archive are remembered; default: the caches' root.

    Raises
    ------
    SourceError
        When it is no archive, is cut off or damaged, or holds names or links that are not safe;
        `EmptyDatasetError` when it has no images.
    RemoteError
        When the server fails.

    Notes
    -----
    The first time, the archive is read once to list it (only its headers, if it is a plain local
    file). What was read of a remote one is kept on the disk until a build has read it again.
    The images of a plain archive are read in any order; a compressed one is read forward,
    which is what a build does, and single samples out of order are slow.
    """

    kind: Final = "tar"

    def __init__(
        self,
        location: str | os.PathLike[str] | StoredFile,
        *,
        storage_options: Mapping[str, Any] | None = None,
        cache_root: Path | None = None,
    ) -> None:
        if isinstance(location, (str, os.PathLike)):
            file = open_stored_file(location, storage_options, cache_root=cache_root)
        else:
            file = location
        self._file = KeptFile(file) if file.is_remote else file
        if not self._file.size:
            raise SourceError(f"{self._file.uri} is empty, and no tar archive")
        self._compression = sniff_compression(self._file)
        self._identity = self._file.identity()
        self._listing = self._find_listing(cache_root)
        self.classes: list[str] = self._listing.classes
        """Names of the classes, sorted; empty for an archive without class folders."""
        self.class_to_idx: dict[str, int] = {name: i for i, name in enumerate(self.classes)}
        """Class name -> label."""

    @property
    def uri(self) -> str:
        """Path or URL of the archive, without credentials."""
        return self._file.uri

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
    def is_sequential(self) -> bool:
        """Whether samples are best read in their order."""
        return self._file.is_remote or self._compression != "none"

    @property
    def mean_sample_bytes(self) -> int:
        """As the headers tell it."""
        return int(self._listing.sizes.mean())

    def sample_bytes(self, index: int, /) -> int:
        """Bytes of a member."""
        return int(self._listing.sizes[index])

    def __len__(self) -> int:
        return len(self._listing)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        return self._sample(index, self._members[index])

    def _sample(self, index: int, image: bytes) -> dict[str, Any]:
        sample: dict[str, Any] = {"image": image}
        if self.classes:
            sample["label"] = int(self._listing.labels[index])
        return {**sample, "index": int(index), "path": self.describe(index)}

    @property
    def reads_alone(self) -> bool:
        """Whether `read_alone` is one small request: the archive is remote and plain."""
        return self._file.is_remote and self._compression == "none"

    def read_alone(self, index: int, /) -> dict[str, Any]:
        """Return a sample without reading those around it; of an archive that `reads_alone`."""
        start = int(self._listing.starts[index])
        image = self._file.read(start, start + int(self._listing.sizes[index]))
        return self._sample(index, image)

    def fingerprint(self) -> str:
        """Hash of the archive's content, or of its ETag: 64 hexadecimal characters."""
        return hashlib.sha256(f"{_RECIPE}\0{self._identity}".encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Path of sample `index` below the folder of the classes, with forward slashes."""
        return printable(self._listing.names[index])

    def close(self) -> None:
        """Forget what was read ahead; reading begins anew."""
        vars(self).pop("_members", None)
        if isinstance(self._file, KeptFile):
            self._file.close()

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"TarSource({self.uri!r}: {len(self)} images{classes})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_members"}

    def _find_listing(self, cache_root: Path | None) -> FileListing:
        directory = listing_root(cache_root) / f"tar-{self.fingerprint()[:32]}"
        known = load_listing(directory)
        if known is not None:
            return known
        if isinstance(self._file, KeptFile):
            self._file.keep((cache_root or default_cache_root()) / _DOWNLOADS)
        reader = open_forward(self._file, self._compression)
        try:
            listing = list_images(iter_members(reader, self.uri), self.uri)
            if self._compression != "none":
                reader.skip(1 << 62)  # to the checksum at the end
        except SampleReadError as error:
            raise SourceError(str(error)) from error
        finally:
            reader.close()
        return keep_listing(directory, listing)

    @cached_property
    def _members(self) -> MemberReader:
        listing = self._listing
        return MemberReader(self._file, self._compression, listing.starts, listing.sizes)

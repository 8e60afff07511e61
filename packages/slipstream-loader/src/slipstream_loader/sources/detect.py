"""What kind of source something is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from slipstream_cache import SampleCache, Source
from slipstream_loader.errors import SourceError
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.prebuilt import is_prebuilt, open_prebuilt
from slipstream_loader.sources.sequence import SequenceSource
from slipstream_loader.sources.stored_file import is_url
from slipstream_loader.sources.tar import TarSource, is_archive

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SUPPORTED: Final = (
    "supported are: a folder of images (in one folder for each class, or all together), a "
    "slipcache directory, a list of dicts, and any slipstream_cache.Source"
)


def open_source(source: Any) -> Source | SampleCache:
    """Open whatever holds samples.

    Parameters
    ----------
    source : str, path, Source, SampleCache or sequence of dicts
        A path of a slipcache directory or of a folder of images; or an object.

    Returns
    -------
    Source or SampleCache
        A cache is opened, not built again. Sources and open caches come back as they are.

    Raises
    ------
    SourceError
        When it is nothing of this kind, cannot be read, or is not supported.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source))
    if isinstance(source, (SampleCache, Source)):
        return source
    return SequenceSource(source)


def _open_path(path: str | bytes) -> Source | SampleCache:
    location = os.fsdecode(path)
    if is_archive(location) and (is_url(location) or not _URL.match(location)):
        return TarSource(location)
    if _URL.match(location):
        raise SourceError(f"{location}: URLs cannot be opened; {_SUPPORTED}")
    directory = Path(location).expanduser()
    if directory.is_file():
        raise SourceError(f"{directory} is a file; {_SUPPORTED}")
    if not directory.is_dir():
        raise SourceError(f"{directory} does not exist; {_SUPPORTED}")
    if is_prebuilt(directory):
        return open_prebuilt(directory)
    if (directory / "index.json").is_file():
        raise SourceError(f"{directory} looks like a LitData data set; {_SUPPORTED}")
    return ImageFolderSource(directory)

"""Appends samples to a cache: a longer cache of its own that shares the files of the sealed parts.

Files are shared by hard links, so nothing is copied and either cache may be deleted. Where the file
system has no hard links, they are copied, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from slipstream_cache.builder import build
from slipstream_cache.cache import SampleCache
from slipstream_cache.errors import (
    CacheError,
    CacheExistsError,
    CacheNotFoundError,
    CacheWriteError,
    CorruptCacheError,
    FieldTypeError,
)
from slipstream_cache.field_types import select_fields
from slipstream_cache.layout import MANIFEST_NAME, PART_MANIFEST_NAME
from slipstream_cache.locations import cache_key
from slipstream_cache.manifest import (
    Manifest,
    PartInfo,
    SourceInfo,
    json_text,
    part_name,
    part_to_json,
)
from slipstream_cache.publish import (
    publish_file,
    read_sealed_part,
    sync_directory,
    temporary_path,
)
from slipstream_cache.source import FieldSpec, Source, Transcode

_logger = logging.getLogger(__name__)

_KIND = "joined"


@dataclass(frozen=True)
class JoinedSource:
    """Several sources, one after another: what a cache with appended samples was built from."""

    sources: tuple[Source, ...]
    """Two or more, all with the same fields."""

    kind = _KIND

    @property
    def uri(self) -> str:
        """Where the samples come from."""
        return " + ".join(source.uri for source in self.sources)

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return self.sources[0].field_types

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        source, position = self._find(index)
        return source[position]

    def fingerprint(self) -> str:
        """Hash of the sources' fingerprints, joined from the left as ``append`` does."""
        prints = (source.fingerprint() for source in self.sources)
        return list(accumulate(prints, _joined_fingerprint))[-1]

    def describe(self, index: int) -> str:
        """Name a sample for a message."""
        source, position = self._find(index)
        return source.describe(position)

    def _find(self, index: int) -> tuple[Source, int]:
        for source in self.sources:
            if index < len(source):
                return source, index
            index -= len(source)
        raise IndexError(f"the joined sources have {len(self)} samples")


def append(
    cache: SampleCache | str | os.PathLike[str],
    source: Source,
    *,
    transcode: Transcode | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SampleCache:
    """Return a cache with the samples of a cache and, after them, those of a source.

    The new samples are built as a cache of their own, with the storage options of the old one.
    Then a third directory gets the parts of both: sealed files are hard links and not copies, only
    manifests are written. The three lie side by side; each is whole, and may be deleted.

    Parameters
    ----------
    cache : SampleCache or path
        The cache, or its directory. It is not changed.
    source : Source
        The samples to add, with the same fields.
    transcode, num_workers, progress
        As for ``build``.

    Returns
    -------
    SampleCache
        The longer cache, under a key of its own. Its source is that of ``JoinedSource``. Indexes
        and derived fields are not taken over.

    Raises
    ------
    FieldTypeError
        The source's fields are not those of the cache.
    CacheExistsError
        Something else lies where the longer cache belongs; nothing was changed.
    CacheWriteError
        The longer cache cannot be written.

    Notes
    -----
    Also raises what ``build`` does. On a file system without hard links the files are copied, with
    a warning.
    """
    old = cache if isinstance(cache, SampleCache) else SampleCache.open(cache)
    root, options = old.cache_dir.parent, old.manifest.options
    fingerprint = _joined_fingerprint(old.manifest.source.fingerprint, source.fingerprint())
    target = root / f"slipcache-{cache_key(fingerprint, options)}"
    try:
        return SampleCache.open(target)
    except CacheNotFoundError:
        pass
    fields = select_fields(source.field_types, options.fields)
    if list(fields.items()) != list(old.fields.items()):
        raise FieldTypeError(
            f"{source.uri} has the fields {fields}, but {old.cache_dir} has {dict(old.fields)}"
        )
    added = build(
        source,
        root / f"slipcache-{cache_key(source.fingerprint(), options)}",
        options=options,
        transcode=transcode,
        num_workers=num_workers,
        progress=progress,
    )
    uri = f"{old.manifest.source.uri} + {source.uri}"
    try:
        _join([old, added], target, SourceInfo(uri, _KIND, fingerprint))
    except CacheError:
        raise
    except OSError as error:
        raise CacheWriteError(f"cannot write the cache {target}: {error}") from error
    return SampleCache.open(target)


def _joined_fingerprint(first: str, second: str) -> str:
    return hashlib.sha256(json.dumps([_KIND, first, second]).encode()).hexdigest()


def _join(caches: Sequence[SampleCache], target: Path, source: SourceInfo) -> None:
    """Link the parts of caches into a new one beside the target, and give it that name."""
    temporary = temporary_path(target)
    temporary.mkdir()
    try:
        parts: list[PartInfo] = []
        for cache in caches:
            for part in cache.manifest.parts:
                first = parts[-1].first_sample + parts[-1].num_samples if parts else 0
                parts.append(replace(part, name=part_name(len(parts)), first_sample=first))
                _link_part(cache, part, temporary, parts[-1])
        first_manifest = caches[0].manifest
        manifest = Manifest(
            key=cache_key(source.fingerprint, first_manifest.options),
            num_samples=sum(map(len, caches)),
            source=source,
            options=first_manifest.options,
            fields=first_manifest.fields,
            parts=tuple(parts),
        )
        publish_file(temporary / MANIFEST_NAME, manifest.to_json())
        try:
            temporary.rename(target)
        except OSError as error:
            try:
                SampleCache.open(target)  # another process has done the same
            except CacheNotFoundError:
                if not target.exists():
                    raise error from None
                raise CacheExistsError(f"{target} holds something else: {error}") from error
        sync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link_part(cache: SampleCache, part: PartInfo, directory: Path, new: PartInfo) -> None:
    """Link the files of a part, and write its record with the new numbers."""
    source, target = cache.cache_dir / part.name, directory / new.name
    sealed = read_sealed_part(source, cache.manifest.fields)
    if sealed is None:
        raise CorruptCacheError(f"{source} is not whole; run `slipstream verify {cache.cache_dir}`")
    shift = new.first_sample - part.first_sample
    problems = [{**problem, "sample": problem["sample"] + shift} for problem in sealed[1]]
    target.mkdir()
    for name in part.files:
        _link_file(source / name, target / name)
    record = {**part_to_json(new), "problems": problems}
    publish_file(target / PART_MANIFEST_NAME, json_text(record))


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError as error:
        _logger.warning("%s is copied, as it cannot be linked: %s", source, error)
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())

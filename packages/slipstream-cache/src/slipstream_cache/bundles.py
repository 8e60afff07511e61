"""What a published cache and its additions consist of: for those who copy them elsewhere.

A bundle is a manifest and the files that it names, with their sizes and hashes. The cache itself
is one; each derived field, value index and statistics file is another, tied to the cache by the
hashes of what it was made from. Whoever has copied the files of a bundle puts it in its place
here: a reader finds all of it or nothing.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slipstream_cache.additions import (
    content_key,
    parent_hashes,
    parse_document,
    publish_addition,
    read_document,
    replace_file,
)
from slipstream_cache.cache import SampleCache
from slipstream_cache.derived import (
    DERIVED_DIRECTORY,
    DERIVED_FORMAT,
    DERIVED_VERSION,
    derived_directory,
    parse_derived,
)
from slipstream_cache.errors import (
    CacheError,
    CacheExistsError,
    CacheNotFoundError,
    DerivedNotFoundError,
    ManifestError,
    UnsupportedVersionError,
)
from slipstream_cache.layout import JOURNAL_NAME, MANIFEST_NAME, PART_MANIFEST_NAME
from slipstream_cache.manifest import (
    FileInfo,
    Manifest,
    PartInfo,
    fields_to_json,
    json_text,
    part_to_json,
    read_manifest,
)
from slipstream_cache.publish import (
    build_lock,
    discard,
    foreign_entries,
    publish_file,
    remove_leftovers,
    sync_directory,
)
from slipstream_cache.stats_files import STATS_DIRECTORY, STATS_FORMAT, STATS_VERSION, stats_path
from slipstream_cache.value_index import (
    INDEX_DIRECTORY,
    INDEX_FORMAT,
    INDEX_VERSION,
    parse_index,
)

_logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(derived|index|stats)/([^/]+)")
_FORMATS: Final = {
    DERIVED_DIRECTORY: (DERIVED_FORMAT, DERIVED_VERSION),
    INDEX_DIRECTORY: (INDEX_FORMAT, INDEX_VERSION),
    STATS_DIRECTORY: (STATS_FORMAT, STATS_VERSION),
}
_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Bundle:
    """A manifest and the files that belong to it."""

    name: str
    """``derived/<field>.<name>``, ``index/<field>`` or ``stats/<name>``; empty: the cache."""
    content: str
    """Hash of what it holds, 16 hexadecimal characters: equal for copies, wherever they are."""
    manifest: str
    """Text of the manifest."""
    directory: str
    """Where its files are, relative to the cache's directory."""
    files: Mapping[str, FileInfo]
    """Path relative to ``directory`` -> size and hash. Empty for statistics."""
    parts: tuple[PartInfo, ...] = ()
    """Of the cache or the derived field."""
    version: int = 0
    """Of a derived field's recipe."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(info.bytes for info in self.files.values())


def cache_bundle(manifest: Manifest) -> Bundle:
    """Return the cache without its additions."""
    parts = [{"name": part.name, **part_to_json(part)} for part in manifest.parts]
    content = content_key({"fields": fields_to_json(manifest.fields), "parts": parts})
    files = _files_of(manifest.parts)
    return Bundle("", content, manifest.to_json(), "", files, manifest.parts)


def addition_bundles(cache: SampleCache) -> list[Bundle]:
    """Return the additions of a cache that are up to date, sorted by their names."""
    bundles = []
    for kind in _FORMATS:
        for path in sorted((cache.cache_dir / kind).glob("*")):
            name = f"{kind}/{path.stem if kind == STATS_DIRECTORY else path.name}"
            manifest = path if kind == STATS_DIRECTORY else path / MANIFEST_NAME
            try:
                bundles.append(parse_addition(cache, name, manifest.read_text("utf-8"), manifest))
            except (CacheError, OSError, UnicodeDecodeError) as error:
                _logger.debug("%s is not shared: %s", path, error)
    return bundles


def parse_addition(cache: SampleCache, name: str, text: str, path: Path | str) -> Bundle:
    """Check an addition's manifest, which may come from anywhere, against a cache.

    Parameters
    ----------
    cache : SampleCache
        What it belongs to.
    name : str
        See `Bundle`.
    text : str
        The manifest.
    path : path or str
        Where it is, for messages.

    Raises
    ------
    DerivedNotFoundError
        It was made from another state of the cache.
    ManifestError, UnsupportedVersionError, FieldNameError
        It is not the manifest of such an addition.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ManifestError(f"{path}: {name!r} cannot name an addition")
    kind, own = found[1], found[2]
    document = parse_document(text, path, *_FORMATS[kind])
    manifest = cache.manifest
    field, _, derived_name = own.rpartition(".") if kind == DERIVED_DIRECTORY else (own, "", "")
    sources = document.get("fields") if kind == STATS_DIRECTORY else [field]
    if not isinstance(sources, list) or not all(
        isinstance(one, str) and one in manifest.fields for one in sources
    ):
        raise ManifestError(f"{path}: the cache does not have the fields that it was made from")
    if document.get("parent") != parent_hashes(manifest, sources):
        raise DerivedNotFoundError(f"{path} was made from another state of the cache")
    content = content_key({key: value for key, value in document.items() if key != "directory"})
    if kind == STATS_DIRECTORY:
        stats_path(cache, own)
        if not isinstance(document.get("payload"), dict):
            raise ManifestError(f"{path} does not hold statistics")
        return Bundle(name, content, text, kind, {})
    if kind == INDEX_DIRECTORY:
        described = parse_index(document, path)
        files = {f"{array}.npy": info for array, (info, _, _) in described.items()}
        return Bundle(name, content, text, f"{name}/{document['directory']}", files)
    derived_directory(cache.cache_dir, field, derived_name)
    recipe, parts = parse_derived(document, manifest, field, derived_name, path)
    directory = f"{name}/{document['directory']}"
    return Bundle(name, content, text, directory, _files_of(parts), parts, recipe.version)


def staging_directory(cache_dir: Path, bundle: Bundle) -> Path:
    """Where the files of a bundle are to be brought before it is put in its place.

    The same for the same content, so that what was interrupted can go on.
    """
    if not bundle.name:
        return cache_dir.with_name(f"{cache_dir.name}.{bundle.content}")
    place = cache_dir / bundle.directory
    return place.with_name(f"{place.name}.{bundle.content[:12]}")


def incoming_directory(cache_dir: Path, bundle: Bundle) -> Path:
    """Where those files are until they are whole and right: beside what is published, not in it."""
    staging = staging_directory(cache_dir, bundle)
    return staging.with_name(f"{staging.name}.incoming")


def publish_bundle(cache_dir: Path, bundle: Bundle) -> None:
    """Make a bundle visible whose files are in `staging_directory`, synced and checked.

    If it is there already, it stays, and the copy is removed.

    Raises
    ------
    CacheExistsError
        The cache's directory holds something that is not ours.
    OSError
        It cannot be written.
    """
    if bundle.name.startswith(STATS_DIRECTORY):
        path = cache_dir / f"{bundle.name}.json"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, bundle.manifest)
        return
    staging = staging_directory(cache_dir, bundle)
    if not bundle.name:
        _seal_parts(staging, bundle)
        publish_file(staging / MANIFEST_NAME, bundle.manifest)
        remove_leftovers(staging)
        sync_directory(staging)
        _move_cache(staging, cache_dir)
        return
    final = cache_dir / bundle.directory
    with build_lock(final.parent):
        if _is_published(final, bundle):  # by somebody else who fetched it at the same time
            shutil.rmtree(staging, ignore_errors=True)
            return
        _seal_parts(staging, bundle)
        sync_directory(staging)
        if final.exists():
            discard(final)
        staging.rename(final)
        publish_addition(final.parent, _document(bundle))


def _seal_parts(staging: Path, bundle: Bundle) -> None:
    for part in bundle.parts:
        directory = staging / part.name
        record = directory / PART_MANIFEST_NAME
        if not record.exists():
            publish_file(record, json_text({**part_to_json(part), "problems": []}))
        for left in directory.glob(f"{PART_MANIFEST_NAME}.*"):  # by those who were killed
            left.unlink(missing_ok=True)
        sync_directory(directory)


def _is_published(final: Path, bundle: Bundle) -> bool:
    """Whether the addition's manifest is this bundle's, and its directory there."""
    try:
        found = read_document(final.parent / MANIFEST_NAME, *_FORMATS[bundle.name.split("/")[0]])
    except (ManifestError, UnsupportedVersionError):
        return False
    return found == _document(bundle) and final.is_dir()


def _document(bundle: Bundle) -> dict[str, Any]:
    return parse_document(bundle.manifest, bundle.name, *_FORMATS[bundle.name.split("/")[0]])


def _move_cache(staging: Path, cache_dir: Path) -> None:
    """Give a complete directory the cache's name; an unfinished build makes room for it."""
    for _ in range(_ATTEMPTS):
        try:
            staging.rename(cache_dir)
        except OSError:
            if not cache_dir.is_dir():
                raise
        else:
            sync_directory(cache_dir.parent)
            return
        try:
            read_manifest(cache_dir)
        except CacheNotFoundError:
            pass
        else:
            shutil.rmtree(staging, ignore_errors=True)
            return
        if not (cache_dir / JOURNAL_NAME).exists() and foreign_entries(cache_dir):
            break
        discard(cache_dir)
    raise CacheExistsError(
        f"{cache_dir} holds other files and no cache; nothing was changed: choose another "
        f"directory. The downloaded cache is in {staging}"
    )


def _files_of(parts: tuple[PartInfo, ...]) -> dict[str, FileInfo]:
    return {f"{part.name}/{file}": info for part in parts for file, info in part.files.items()}

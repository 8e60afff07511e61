"""Caches that are shared over S3: whoever builds one uploads it, all others download it.

Below the shared URL lies, for each cache::

    slipcache-<key>/manifest.json                     the cache's manifest, put there last
    slipcache-<key>/parts/<content>/part-00000/...    the files that it names
    slipcache-<key>/derived/image.seek/<content>.json and <content>/...
    slipcache-<key>/index/label/..., stats/...        likewise

``<content>`` is the hash of what the files hold, so caches that two versions of a library have
built never mix: each manifest names files of its own, and only the first one gets the name. A
reader that finds a manifest finds all files that belong to it. Nothing is deleted here.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipstream_cache import (
    CacheError,
    CacheWriteError,
    ManifestError,
    SampleCache,
    UnsupportedVersionError,
)
from slipstream_cache.bundles import (
    Bundle,
    addition_bundles,
    cache_bundle,
    incoming_directory,
    parse_addition,
    publish_bundle,
    staging_directory,
)
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import parse_manifest
from slipstream_cache.publish import build_lock

if TYPE_CHECKING:
    from slipstream_s3sync import Connection, RemoteFile, S3Folder

_logger = logging.getLogger(__name__)

PARTS: Final = "parts"
"""Below it are the files of caches."""
ADDITION: Final = re.compile(r"((?:derived|index|stats)/[^/]+)/([0-9a-f]{16})\.json")
"""Name of the object that is an addition's manifest: its name, and the hash of its content."""
_KEY: Final = re.compile(r"[0-9a-f]{16}")
_SPARE_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class RemoteCache:
    """A place on S3 where caches are shared, and how it is reached."""

    url: str
    """``s3://bucket/prefix``."""
    endpoint_url: str | None = None
    """Of an S3-compatible service."""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """``anonymous``, ``profile``, ``region_name``, ``verify``, credentials; see
    ``slipstream_s3sync.Connection``. By default as all AWS tools find them."""
    strict: bool = False
    """Raise where sharing fails. Otherwise it is a warning: the cache is built and used here."""

    @classmethod
    def of(cls, given: str | RemoteCache, endpoint_url: str | None = None) -> RemoteCache:
        """What the arguments of a loader mean."""
        if isinstance(given, RemoteCache):
            if endpoint_url not in (None, given.endpoint_url):
                raise ValueError("give the endpoint in RemoteCache(...), not twice")
            return given
        return cls(given, endpoint_url)

    @contextmanager
    def opened(self, key: str | None = None) -> Iterator[S3Folder]:
        """The objects of one cache, or of all; afterwards no connection stays open.

        Raises
        ------
        ValueError
            The key is not of the form that keys have: objects of others would be meant.
        """
        if key is not None and not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no cache's key, which is 16 hexadecimal characters")
        url = self.url.rstrip("/") + ("" if key is None else f"/slipcache-{key}")
        folder: S3Folder = _s3sync().S3Folder(url, self._connection)
        try:
            yield folder
        finally:
            folder.close()

    @cached_property
    def _connection(self) -> Connection:
        options = dict(self.storage_options)
        if self.endpoint_url is not None:
            options["endpoint_url"] = self.endpoint_url
        connection: Connection = _s3sync().Connection(options)
        return connection


def fetch_cache(remote: RemoteCache, key: str, cache_dir: Path, *, verbose: bool = True) -> bool:
    """Download a cache and publish it here.

    Parameters
    ----------
    remote : RemoteCache
    key : str
        Of the cache.
    cache_dir : Path
        Where it belongs. If a published cache is there already, nothing happens.
    verbose : bool
        Whether progress is shown.

    Returns
    -------
    bool
        Whether the remote has this cache.

    Raises
    ------
    S3Error
        The remote cannot be reached, or a file is damaged there. What has arrived is kept beside
        ``cache_dir``, and the next attempt goes on after it.
    ManifestError, UnsupportedVersionError
        The remote manifest is not this cache's.
    CacheWriteError
        There is no room, or it cannot be written.
    """
    with remote.opened(key) as folder, _written_to(cache_dir):
        bundle = _remote_bundle(folder, key)
        if bundle is None:
            return False
        cache_dir.parent.mkdir(parents=True, exist_ok=True)
        with build_lock(cache_dir):
            if not (cache_dir / MANIFEST_NAME).exists():
                _fetch_files(folder, cache_dir, bundle, verbose=verbose)
                publish_bundle(cache_dir, bundle)
    return True


def send_cache(remote: RemoteCache, cache: SampleCache, *, verbose: bool = True) -> int:
    """Upload a cache, unless the remote has it; returns how many files were uploaded.

    If another build of it was published there first, that one stays, with a message of level INFO.

    Raises
    ------
    S3Error
        The remote cannot be reached or refuses.
    """
    ours = cache_bundle(cache.manifest)
    with remote.opened(cache.key) as folder:
        theirs = _remote_bundle(folder, cache.key)
        if theirs is not None:
            if theirs.content != ours.content:
                _logger.info("%s was built by another version and stays as it is", folder.url)
            return 0
        sent = _send_files(folder, cache.cache_dir, ours, verbose=verbose)
        if not folder.create(MANIFEST_NAME, ours.manifest.encode()):
            _logger.info("%s was published by somebody else at the same time", folder.url)
        return sent + 1


def fetch_additions(remote: RemoteCache, cache: SampleCache, *, verbose: bool = True) -> int:
    """Download derived fields, indexes and statistics that are missing here; returns how many.

    Of a derived field that was made by several versions, the newest is taken. What belongs to
    another build of the cache is passed over.

    Raises
    ------
    S3Error, CacheWriteError
        As `fetch_cache`.
    """
    here = {bundle.name for bundle in addition_bundles(cache)}
    found: dict[str, Bundle] = {}
    with remote.opened(cache.key) as folder, _written_to(cache.cache_dir):
        for name, contents in _listed(folder).items():
            for content in contents if name not in here else ():
                bundle = _remote_addition(folder, cache, name, content)
                if bundle is not None and (
                    name not in found or bundle.version > found[name].version
                ):
                    found[name] = bundle
        if not found:
            return 0
        with build_lock(cache.cache_dir):  # one process of a node fetches, the others wait for it
            here = {bundle.name for bundle in addition_bundles(cache)}
            missing = sorted(found.keys() - here)
            for name in missing:
                _fetch_files(folder, cache.cache_dir, found[name], verbose=verbose)
                publish_bundle(cache.cache_dir, found[name])
    return len(missing)


def send_additions(remote: RemoteCache, cache: SampleCache, *, verbose: bool = True) -> int:
    """Upload derived fields, indexes and statistics that the remote lacks; returns how many.

    Raises
    ------
    S3Error
        The remote cannot be reached or refuses.
    """
    with remote.opened(cache.key) as folder:
        there = _listed(folder)
        missing = [
            bundle
            for bundle in addition_bundles(cache)
            if bundle.content not in there.get(bundle.name, ())
        ]
        for bundle in missing:
            _send_files(folder, cache.cache_dir, bundle, verbose=verbose)
            folder.create(f"{bundle.name}/{bundle.content}.json", bundle.manifest.encode())
    return len(missing)


def sync_cache(remote: RemoteCache, cache: SampleCache, *, verbose: bool = True) -> tuple[int, int]:
    """Exchange what either side lacks: the cache, and then its additions.

    Returns
    -------
    tuple of int
        Additions downloaded, and files of the cache and additions uploaded.

    Raises
    ------
    S3Error, CacheWriteError
        As `fetch_additions` and `send_cache`.
    """
    sent = send_cache(remote, cache, verbose=verbose)
    fetched = fetch_additions(remote, cache, verbose=verbose)
    return fetched, sent + send_additions(remote, cache, verbose=verbose)


def is_remote_failure(error: BaseException) -> bool:
    """Whether an error is about the remote or what it holds, and not about building here."""
    return isinstance(error, (_s3sync().S3Error, ManifestError, UnsupportedVersionError))


def _remote_bundle(folder: S3Folder, key: str) -> Bundle | None:
    """The cache that the remote has."""
    try:
        text = folder.read(MANIFEST_NAME).decode("utf-8", "replace")
    except _s3sync().S3NotFoundError:
        folder.check()  # the bucket may be missing, and then nothing can be shared
        return None
    url = folder.url_of(MANIFEST_NAME)
    manifest = parse_manifest(text, url)
    if manifest.key != key:
        raise ManifestError(f"{url} is of the cache {manifest.key}, expected {key}")
    return cache_bundle(manifest)


def _remote_addition(
    folder: S3Folder, cache: SampleCache, name: str, content: str
) -> Bundle | None:
    """An addition that the remote has; None if it does not belong to this cache."""
    object_name = f"{name}/{content}.json"
    text = folder.read(object_name).decode("utf-8", "replace")
    url = folder.url_of(object_name)
    try:
        bundle = parse_addition(cache, name, text, url)
    except CacheError as error:
        _logger.debug("%s is not taken: %s", url, error)
        return None
    if bundle.content != content:
        _logger.warning("%s does not hold what its name says: not taken", url)
        return None
    return bundle


def _listed(folder: S3Folder) -> dict[str, list[str]]:
    """Name of each addition that the remote has -> the contents of its versions."""
    listed: dict[str, list[str]] = {}
    for kind in ("derived/", "index/", "stats/"):
        for stored in folder.list(kind):
            match = ADDITION.fullmatch(stored.name)
            if match is not None:
                listed.setdefault(match[1], []).append(match[2])
    return listed


def _remote_files(bundle: Bundle, local: Path) -> list[RemoteFile]:
    """The files of a bundle, each with its object."""
    below = f"{bundle.name or PARTS}/{bundle.content}"
    remote_file = _s3sync().RemoteFile
    return [
        remote_file(f"{below}/{name}", local / name, info.bytes, info.xxh3)
        for name, info in bundle.files.items()
    ]


def _fetch_files(folder: S3Folder, cache_dir: Path, bundle: Bundle, *, verbose: bool) -> None:
    """Download the files of a bundle to where they wait for being published."""
    if not bundle.files:
        return
    staging = staging_directory(cache_dir, bundle)
    staging.mkdir(parents=True, exist_ok=True)
    present = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    needed, free = bundle.num_bytes - present, shutil.disk_usage(staging).free
    if needed + _SPARE_BYTES > free:
        raise CacheWriteError(
            f"{folder.url} needs {needed:,} more bytes in {staging.parent}, but {free:,} are free"
        )
    s3sync = _s3sync()
    what = f"downloading {bundle.name or 'cache'}"
    with s3sync.byte_bar(bundle.num_bytes, what, verbose=verbose) as bar:
        files = _remote_files(bundle, staging)
        incoming = incoming_directory(cache_dir, bundle)
        s3sync.download(folder, files, incoming=incoming, durable=True, progress=bar)


def _send_files(folder: S3Folder, cache_dir: Path, bundle: Bundle, *, verbose: bool) -> int:
    """Upload the files of a bundle; returns how many were not there."""
    s3sync = _s3sync()
    what = f"uploading {bundle.name or 'cache'}"
    with s3sync.byte_bar(bundle.num_bytes, what, verbose=verbose) as bar:
        files = _remote_files(bundle, cache_dir / bundle.directory)
        return int(s3sync.upload(folder, files, progress=bar))


@contextmanager
def _written_to(cache_dir: Path) -> Iterator[None]:
    """Tell failures of writing here from those of the remote."""
    try:
        yield
    except (CacheError, _s3sync().S3Error):
        raise
    except OSError as error:
        raise CacheWriteError(
            f"cannot write what was downloaded to {cache_dir}: {error}"
        ) from error


def _s3sync() -> Any:
    try:
        import slipstream_s3sync
    except ImportError as error:
        raise ImportError(
            "sharing caches over S3 needs s3sync: pip install 'visionlab-slipstream-loader[s3]'"
        ) from error
    return slipstream_s3sync

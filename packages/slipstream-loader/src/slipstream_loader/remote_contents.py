"""What a place of shared caches holds, and the deletion of some of it, by name only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from slipstream_cache import CacheError
from slipstream_cache.bundles import cache_bundle
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import Manifest, parse_manifest
from slipstream_loader.errors import RemoteError, RemoteNotFoundError
from slipstream_loader.remote_cache import ADDITION, PARTS, RemoteCache

_CACHE: Final = re.compile(r"slipcache-([0-9a-f]{16})/(.+)")
_OF_PARTS: Final = re.compile(rf"{PARTS}/([0-9a-f]{{16}})/.+")
_OF_ADDITION: Final = re.compile(r"((?:derived|index)/[^/]+/[0-9a-f]{16})/.+")


@dataclass(frozen=True)
class SharedCache:
    """One cache of a shared place."""

    key: str
    manifest: Manifest | None
    """None where an upload was not finished, or the manifest cannot be read."""
    objects: dict[str, int]
    """Name of each object, below ``slipcache-<key>/``, and its bytes."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all objects together."""
        return sum(self.objects.values())

    @property
    def additions(self) -> list[str]:
        """Names of its derived fields, indexes and statistics."""
        matches = map(ADDITION.fullmatch, self.objects)
        return sorted({match[1] for match in matches if match})

    @property
    def unused(self) -> list[str]:
        """Objects that no manifest names: of other builds, and of unfinished uploads.

        Empty where the cache's manifest is there and cannot be read: it may name any of them.
        """
        if not self.is_readable:
            return []
        kept = None if self.manifest is None else cache_bundle(self.manifest).content
        parts = map(_OF_PARTS.fullmatch, self.objects)
        names = [match[0] for match in parts if match and match[1] != kept]
        of_additions = map(_OF_ADDITION.fullmatch, self.objects)
        names += [m[0] for m in of_additions if m and f"{m[1]}.json" not in self.objects]
        return sorted(names)

    @property
    def is_readable(self) -> bool:
        """Whether there is no manifest, or one that this version reads."""
        return self.manifest is not None or MANIFEST_NAME not in self.objects


def list_caches(remote: RemoteCache, key: str | None = None) -> list[SharedCache]:
    """Return the caches of a shared place, or the one of a key.

    Raises
    ------
    S3Error
        The place cannot be listed.
    """
    objects: dict[str, dict[str, int]] = {}
    with remote.opened() as folder:
        for stored in folder.list("slipcache-" + ("" if key is None else f"{key}/")):
            match = _CACHE.fullmatch(stored.name)
            if match is not None:
                objects.setdefault(match[1], {})[match[2]] = stored.size
        found = []
        for one, names in objects.items():
            manifest = None
            if MANIFEST_NAME in names:
                name = f"slipcache-{one}/{MANIFEST_NAME}"
                try:
                    text = folder.read(name).decode("utf-8", "replace")
                    manifest = parse_manifest(text, folder.url_of(name))
                except CacheError:
                    pass
            found.append(SharedCache(one, manifest, names))
    return found


def prune(
    remote: RemoteCache, key: str, *, addition: str | None = None, unused: bool = False
) -> tuple[int, int]:
    """Delete a shared cache, or one addition to it, or what its manifest does not name.

    Manifests go first: no reader finds one whose files are gone.

    Parameters
    ----------
    remote : RemoteCache
    key : str
        Of the cache.
    addition : str, optional
        Only this, such as ``derived/image.yuv420``.
    unused : bool
        Only what no manifest names. An upload that is going on at that time may fail.

    Returns
    -------
    tuple of int
        Objects and bytes that were deleted.

    Raises
    ------
    RemoteNotFoundError
        There is no such cache or addition.
    RemoteError
        Its manifest cannot be read, so nobody knows what is unused.
    S3Error
        It cannot be deleted.
    """
    if addition is not None and unused:
        raise RemoteError("give the name of an addition, or unused, not both")
    found = list_caches(remote, key)
    if not found:
        raise RemoteNotFoundError(f"there is no cache slipcache-{key} in {remote.url}")
    cache = found[0]
    if unused and not cache.is_readable:
        raise RemoteError(
            f"the manifest of slipcache-{key} in {remote.url} is damaged or of a newer version: "
            "what is unused is not known, and nothing was deleted"
        )
    if unused:
        names = cache.unused
    elif addition is not None:
        names = [name for name in cache.objects if name.startswith(f"{addition}/")]
        if addition not in cache.additions:
            raise RemoteNotFoundError(
                f"slipcache-{key} in {remote.url} has no {addition!r}; it has "
                f"{', '.join(cache.additions) or 'none'}"
            )
    else:
        names = list(cache.objects)
    first = [name for name in names if name == MANIFEST_NAME or ADDITION.fullmatch(name)]
    with remote.opened(key) as folder:
        folder.delete(first)
        folder.delete([name for name in names if name not in set(first)])
    return len(names), sum(cache.objects[name] for name in names)

"""Checks a published cache: against its own manifest, its checksums, and its source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from slipstream_cache.cache import SampleCache
from slipstream_cache.derived import DERIVED_DIRECTORY, read_derived
from slipstream_cache.errors import (
    CacheError,
    DerivedNotFoundError,
    FieldNameError,
    IndexNotFoundError,
    ManifestError,
    UnsupportedVersionError,
)
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import MANIFEST_NAME, Condition
from slipstream_cache.manifest import FileInfo, ImageCounts, PartInfo
from slipstream_cache.payloads import verify_payloads
from slipstream_cache.readers import ImageReader, RaggedReader, make_reader
from slipstream_cache.source import FieldSpec, Source
from slipstream_cache.source_comparison import PartComparison, Problem, name_samples
from slipstream_cache.stats_files import STATS_DIRECTORY, read_stats
from slipstream_cache.value_index import INDEX_DIRECTORY, read_index
from slipstream_cache.writers import hash_file

_MAX_THREADS: Final = 8

_PartPlace: TypeAlias = "tuple[Path, PartInfo, Mapping[str, FieldSpec]]"
_Step: TypeAlias = "tuple[int, Callable[[], list[Problem]]]"


@dataclass(frozen=True)
class Report:
    """What ``verify`` found."""

    cache_dir: Path
    problems: tuple[Problem, ...]
    """What is wrong: empty for a whole cache."""
    notes: tuple[str, ...]
    """What is worth knowing and not wrong, such as an index that is out of date."""
    num_files: int
    """Files that were looked at."""
    num_bytes: int
    """Bytes that these should have."""
    num_compared: int
    """Samples that were compared with the source."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def damaged_parts(self) -> list[str]:
        """Names of the parts that have problems, in order."""
        found = {
            p.path.parent.name for p in self.problems if p.path.parent.parent == self.cache_dir
        }
        return sorted(name for name in found if name.startswith("part-"))


def verify(
    cache: SampleCache | str | os.PathLike[str],
    *,
    level: Literal["quick", "full"] = "quick",
    source: Source | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check that a cache, its derived fields, indexes and statistics are whole.

    Parameters
    ----------
    cache : SampleCache or path
        The cache, or its directory.
    level : {"quick", "full"}
        Quick looks at the presence and the size of all files. Full also reads them: their hashes,
        the checksum of every image, and where every row points to.
    source : Source, optional
        Also compare every sample with this source. Images that were stored again in another form
        are left out.
    progress : callable, optional
        Called as ``progress(bytes done, bytes in all)`` from this thread.

    Returns
    -------
    Report
        A missing or unreadable manifest is a problem in it, not an error.

    Raises
    ------
    ValueError
        Another level.
    """
    if level not in ("quick", "full"):
        raise ValueError(f"level is {level!r}; expected 'quick' or 'full'")
    directory = cache.cache_dir if isinstance(cache, SampleCache) else Path(cache).absolute()
    try:
        opened = SampleCache.open(directory)
    except (OSError, ManifestError, UnsupportedVersionError) as error:
        problem = Problem(directory / MANIFEST_NAME, str(error))
        return Report(directory, (problem,), (), 1, 0, 0)
    check = _Check(opened, level == "full", progress)
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), "slipstream-verify") as pool:
        return check.run(pool, source)


class _Check:
    """One run of ``verify``."""

    def __init__(
        self, cache: SampleCache, full: bool, progress: Callable[[int, int], None] | None
    ) -> None:
        self._cache, self._full, self._progress = cache, full, progress
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._done = self._total = 0

    def run(self, pool: ThreadPoolExecutor, source: Source | None) -> Report:
        """Do all checks."""
        manifest, full = self._cache.manifest, self._full
        parts: list[_PartPlace] = [
            (self._cache.cache_dir, part, manifest.fields) for part in manifest.parts
        ]
        arrays: list[tuple[Path, FileInfo]] = []
        self._add_derived(parts)
        self._add_indexes(arrays)
        self._read_stats()
        checks: list[_Step] = [
            (part.num_bytes, partial(_check_part, path, part, fields, full))
            for path, part, fields in parts
        ]
        checks += [(info.bytes, partial(_check_file, path, info, full)) for path, info in arrays]
        num_bytes = sum(size for size, _ in checks)
        self._total = num_bytes + (manifest.num_bytes if source is not None else 0)
        self._collect(pool, checks)
        num_compared = 0
        if source is not None and self._is_the_source(source):
            for part in manifest.parts:
                comparison = PartComparison(self._cache, part, source)
                self._collect(pool, comparison.steps())
                self._problems += comparison.differences()
                num_compared += part.num_samples
        return Report(
            self._cache.cache_dir,
            tuple(self._problems),
            tuple(self._notes),
            1 + sum(len(part.files) for _, part, _ in parts) + len(arrays),
            num_bytes,
            num_compared,
        )

    def _collect(self, pool: ThreadPoolExecutor, steps: Iterable[_Step]) -> None:
        """Run steps, of so many bytes each, on the pool, and take their problems in order."""
        futures = [(num_bytes, pool.submit(step)) for num_bytes, step in steps]
        for num_bytes, future in futures:
            self._problems += future.result()
            self._done += num_bytes
            if self._progress is not None:
                self._progress(self._done, self._total)

    def _is_the_source(self, source: Source) -> bool:
        stored, fingerprint = self._cache.manifest.source, source.fingerprint()
        if fingerprint == stored.fingerprint and len(source) == len(self._cache):
            return True
        self._problems.append(
            Problem(
                self._cache.cache_dir / MANIFEST_NAME,
                f"the cache has {len(self._cache)} samples of {stored.uri} (fingerprint "
                f"{stored.fingerprint}), but {source.uri} has {len(source)} (fingerprint "
                f"{fingerprint}): it is another source",
            )
        )
        return False

    def _add_derived(self, parts: list[_PartPlace]) -> None:
        for path in _entries(self._cache.cache_dir / DERIVED_DIRECTORY):
            field, _, name = path.name.rpartition(".")
            try:
                if field not in self._cache.image_fields:
                    raise DerivedNotFoundError("there is no such field")
                recipe, directory, derived = read_derived(self._cache, field, name)
                parts += [(directory, part, {name: recipe.spec}) for part in derived]
            except (DerivedNotFoundError, FieldNameError) as error:
                self._notes.append(f"{path}: {error}")
            except CacheError as error:
                self._problems.append(Problem(path / MANIFEST_NAME, str(error)))

    def _add_indexes(self, arrays: list[tuple[Path, FileInfo]]) -> None:
        for path in _entries(self._cache.cache_dir / INDEX_DIRECTORY):
            try:
                if path.name not in self._cache.fields:
                    raise IndexNotFoundError("there is no such field")
                directory, described = read_index(self._cache, path.name)
                arrays += [(directory / f"{name}.npy", d[0]) for name, d in described.items()]
            except IndexNotFoundError as error:
                self._notes.append(f"{path}: {error}")
            except CacheError as error:
                self._problems.append(Problem(path / MANIFEST_NAME, str(error)))

    def _read_stats(self) -> None:
        for path in sorted((self._cache.cache_dir / STATS_DIRECTORY).glob("*.json")):
            try:
                if read_stats(self._cache, path.stem) is None:
                    self._notes.append(f"{path}: out of date")
            except CacheError as error:
                self._problems.append(Problem(path, str(error)))


def _check_part(
    directory: Path, part: PartInfo, fields: Mapping[str, FieldSpec], full: bool
) -> list[Problem]:
    """Check one part of a cache or of a derived field."""
    files = [(directory / part.name / name, info) for name, info in part.files.items()]
    problems = [problem for path, info in files for problem in _check_file(path, info, full)]
    has_sizes = not any(_check_file(path, info, False) for path, info in files)
    if full and has_sizes:
        for name, spec in fields.items():
            problems += _check_values(directory, part, name, spec)
    return problems


def _check_values(directory: Path, part: PartInfo, name: str, spec: FieldSpec) -> list[Problem]:
    """Look where all rows point to, and compare the checksums and counts of images."""
    reader = make_reader(directory, name, spec, [part])
    ids = np.arange(part.first_sample, part.first_sample + part.num_samples)
    path = directory / part.name / field_files(name, spec)[-1]
    try:
        reader.map_all()
        if isinstance(reader, RaggedReader):
            reader.locate(ids)
        if not isinstance(reader, ImageReader):
            return []
        payloads = reader.locate(ids)
    except CacheError as error:
        return [Problem(path, str(error))]
    problems = []
    wrong = tuple(ids[~verify_payloads(payloads)].tolist())
    if wrong:
        problems.append(Problem(path, f"wrong checksum of {name_samples(wrong)}", wrong))
    counts = ImageCounts(
        int((payloads.conditions == Condition.DAMAGED).sum()),
        int((payloads.conditions == Condition.UNREADABLE).sum()),
    )
    if counts != part.images[name]:
        problems.append(Problem(path, f"expected {part.images[name]}, found {counts}"))
    return problems


def _check_file(path: Path, info: FileInfo, full: bool) -> list[Problem]:
    """Check the presence and the size of a file, or everything."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            return [Problem(path, "not a file")]
        if size != info.bytes:
            return [Problem(path, f"expected {info.bytes} bytes, found {size}")]
        if full and (digest := hash_file(path)) != info.xxh3:
            return [Problem(path, f"expected xxh3 {info.xxh3}, found {digest}: its bytes changed")]
    except FileNotFoundError:
        return [Problem(path, f"missing, expected {info.bytes} bytes")]
    except OSError as error:
        return [Problem(path, f"cannot be read: {error}")]
    return []


def _entries(directory: Path) -> Iterator[Path]:
    """The additions in a directory."""
    if directory.is_dir():
        yield from sorted(path for path in directory.iterdir() if path.is_dir())

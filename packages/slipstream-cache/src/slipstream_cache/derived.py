"""Derived fields: made from an image field after the build, and read like a field.

``derived/<field>.<name>/`` has parts parallel to those of the cache, and a manifest that tells the
recipe and the files that they were made from. ``derivation`` makes them.
"""

from __future__ import annotations

import json
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import ArrayLike

from slipstream_cache.additions import (
    OPENING_ATTEMPTS,
    content_key,
    parent_hashes,
    read_document,
    remove_addition,
)
from slipstream_cache.errors import (
    CacheWriteError,
    CorruptCacheError,
    DerivedNotFoundError,
    FieldNameError,
    FieldTypeError,
    ManifestError,
)
from slipstream_cache.field_types import validate_fields
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import (
    Manifest,
    PartInfo,
    check_part,
    count_from_json,
    field_from_json,
    fields_to_json,
    part_from_json,
    part_to_json,
)
from slipstream_cache.payloads import Blobs, Payloads
from slipstream_cache.readers import ImageReader, RaggedReader, make_reader
from slipstream_cache.sample_ids import check_ids
from slipstream_cache.source import FieldSpec

if TYPE_CHECKING:
    from slipstream_cache.cache import SampleCache

_logger = logging.getLogger(__name__)

DERIVED_DIRECTORY: Final = "derived"
DERIVED_FORMAT: Final = "slipcache-derived"
DERIVED_VERSION: Final = 1

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,50}")


@dataclass(frozen=True)
class Recipe:
    """How a derived field is made; one that was made by another recipe is out of date."""

    name: str
    """Of the algorithm."""
    version: int
    """To be raised whenever the algorithm gives other bytes."""
    spec: FieldSpec
    """How the derived values are stored."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else the bytes depend on, as JSON values."""

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it is written in the manifest."""
        spec = fields_to_json({"spec": self.spec})["spec"]
        options = json.loads(json.dumps(dict(self.options)))
        return {"name": self.name, "version": self.version, "spec": spec, "options": options}


class DerivedReader(ABC):
    """A derived field of a cache, or of a view of some."""

    recipe: Recipe
    """How it was made."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """Bytes on disk; of a view, of all its caches' values."""

    @abstractmethod
    def load(self, ids: ArrayLike) -> Any:
        """Copy the values of samples, in the form in which ``load_batch`` gives such a field."""

    @abstractmethod
    def payloads(self, ids: ArrayLike) -> Payloads:
        """Return where derived images are in memory, without copying them."""

    @abstractmethod
    def blobs(self, ids: ArrayLike) -> Blobs:
        """Return where ragged values are in memory, without copying them."""


class DerivedField(DerivedReader):
    """A published derived field, opened by ``SampleCache.derived``.

    All its files are mapped when it is opened: it stays readable when it is renewed or deleted.

    Parameters
    ----------
    cache_dir : Path
        Directory of the cache.
    field, name : str
        The image field that it was made from, and its own name.
    recipe : Recipe
        How it was made.
    directory : Path
        Where its parts are.
    parts : tuple of PartInfo
        They have the samples of the cache's parts.
    """

    def __init__(
        self,
        cache_dir: Path,
        field: str,
        name: str,
        recipe: Recipe,
        directory: Path,
        parts: tuple[PartInfo, ...],
    ) -> None:
        self.cache_dir, self.field, self.name, self.recipe = cache_dir, field, name, recipe
        self.directory, self.parts = directory, parts
        self._num_samples = sum(part.num_samples for part in parts)
        self._reader = make_reader(directory, name, recipe.spec, parts)
        self._reader.map_all()

    def __len__(self) -> int:
        return self._num_samples

    @property
    def num_bytes(self) -> int:
        """Bytes of all its part files together."""
        return sum(part.num_bytes for part in self.parts)

    def load(self, ids: ArrayLike) -> Any:
        """Copy the values of samples, in the form in which ``load_batch`` gives such a field."""
        return self._reader.load(self._check(ids))

    def payloads(self, ids: ArrayLike) -> Payloads:
        """Return where derived images are in memory, without copying them.

        Raises
        ------
        FieldTypeError
            The derived field is not of the kind image.
        SampleIdError
            An id is out of range.
        """
        if not isinstance(self._reader, ImageReader):
            raise FieldTypeError(f"{self._title()} is {self.recipe.spec.kind}, not image")
        return self._reader.locate(self._check(ids))

    def blobs(self, ids: ArrayLike) -> Blobs:
        """Return where ragged values are in memory, without copying them.

        Raises
        ------
        FieldTypeError
            The derived field is not of the kind ragged.
        SampleIdError
            An id is out of range.
        """
        if not isinstance(self._reader, RaggedReader):
            raise FieldTypeError(f"{self._title()} is {self.recipe.spec.kind}, not ragged")
        return self._reader.locate(self._check(ids))

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_again, (self.cache_dir, self.field, self.name, self.recipe)

    def __repr__(self) -> str:
        return f"DerivedField {self._title()}: {len(self):,} samples, {self.num_bytes:,} bytes"

    def _title(self) -> str:
        return f"{self.field}.{self.name} of {self.cache_dir}"

    def _check(self, ids: ArrayLike) -> Any:
        return check_ids(ids, len(self), self._title())


def derived_directory(cache_dir: Path, field: str, name: str) -> Path:
    """Return the directory of a derived field, after a check of its name.

    Raises
    ------
    FieldNameError
        The name is not lower-case letters, digits and ``_``.
    """
    if not _NAME.fullmatch(name):
        raise FieldNameError(
            f"{name!r} cannot name a derived field: expected lower-case letters, digits and '_', "
            "beginning with a letter"
        )
    return cache_dir / DERIVED_DIRECTORY / f"{field}.{name}"


def open_derived(
    cache: SampleCache, field: str, name: str, recipe: Recipe | None = None
) -> DerivedField:
    """Open a derived field; see ``SampleCache.derived``."""
    attempts = OPENING_ATTEMPTS
    while True:
        attempts -= 1
        found, directory, parts = read_derived(cache, field, name, recipe)
        try:
            return DerivedField(cache.cache_dir, field, name, found, directory, parts)
        except CorruptCacheError:
            if not attempts:
                raise


def delete_derived(cache: SampleCache | str | os.PathLike[str], field: str, name: str) -> None:
    """Delete a derived field, of any recipe and state; nothing happens if there is none.

    Raises
    ------
    CacheWriteError
        It cannot be deleted.
    """
    from slipstream_cache.cache import SampleCache

    opened = cache if isinstance(cache, SampleCache) else SampleCache.open(cache)
    directory = derived_directory(opened.cache_dir, field, name)
    try:
        remove_addition(directory)
    except OSError as error:
        raise CacheWriteError(f"cannot delete {directory}: {error}") from error


def derived_document(
    manifest: Manifest, field: str, name: str, recipe: Recipe, parts: tuple[PartInfo, ...]
) -> dict[str, Any]:
    """Return the manifest of a derived field, with the directory where its parts belong."""
    recipe_json, parent = recipe.to_json(), parent_hashes(manifest, [field])
    return {
        "format": DERIVED_FORMAT,
        "version": DERIVED_VERSION,
        "field": field,
        "name": name,
        "recipe": recipe_json,
        "parent": parent,
        "directory": content_key({"name": name, "recipe": recipe_json, "parent": parent}),
        "parts": [{"name": part.name, **part_to_json(part)} for part in parts],
    }


def read_derived(
    cache: SampleCache, field: str, name: str, recipe: Recipe | None = None
) -> tuple[Recipe, Path, tuple[PartInfo, ...]]:
    """Return the recipe, the directory and the parts of a derived field; opens none of its files.

    Raises as ``SampleCache.derived`` does.
    """
    directory = derived_directory(cache.cache_dir, field, name)
    path = directory / MANIFEST_NAME
    document = read_document(path, DERIVED_FORMAT, DERIVED_VERSION)
    if document is None:
        raise DerivedNotFoundError(f"{cache.cache_dir} has no derived field {field}.{name}")
    reason = None
    if document.get("parent") != parent_hashes(cache.manifest, [field]):
        reason = "it was made from another state of the cache"
    elif recipe is not None and document.get("recipe") != recipe.to_json():
        reason = f"it was made by {document.get('recipe')}, not by {recipe.to_json()}"
    if reason:
        _logger.warning("%s is out of date and ignored: %s", directory, reason)
        raise DerivedNotFoundError(f"the derived field {field}.{name} is out of date: {reason}")
    found, parts = parse_derived(document, cache.manifest, field, name, path)
    return found, directory / str(document["directory"]), parts


def parse_derived(
    document: Mapping[str, Any], manifest: Manifest, field: str, name: str, path: Path | str
) -> tuple[Recipe, tuple[PartInfo, ...]]:
    """Return the recipe and the parts in a derived field's manifest; ``path`` is for messages.

    Raises
    ------
    ManifestError
        It contradicts itself or the cache's manifest.
    """
    try:
        found, parts = _from_json(document, name)
        samples = [(part.first_sample, part.num_samples) for part in parts]
        if samples != [(part.first_sample, part.num_samples) for part in manifest.parts]:
            raise ValueError("its parts do not have the samples of the cache's parts")
        expected = derived_document(manifest, field, name, found, parts)
        if document["directory"] != expected["directory"]:
            raise ValueError(f"unexpected directory {document['directory']!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(f"{path} is not a derived field's manifest: {error!r}") from error
    return found, parts


def _from_json(document: Mapping[str, Any], name: str) -> tuple[Recipe, tuple[PartInfo, ...]]:
    recipe = document["recipe"]
    spec = field_from_json(recipe["spec"])
    fields = {name: spec}
    validate_fields(fields)
    parts = []
    for number, part in enumerate(document["parts"]):
        parts.append(part_from_json(part["name"], part))
        check_part(parts[-1], fields)
        if part["name"] != f"part-{number:05d}":
            raise ValueError(f"unexpected part {part['name']!r}")
    version = count_from_json(recipe["version"])
    return Recipe(recipe["name"], version, spec, recipe["options"]), tuple(parts)


def _open_again(cache_dir: Path, field: str, name: str, recipe: Recipe) -> DerivedField:
    from slipstream_cache.cache import SampleCache

    return open_derived(SampleCache.open(cache_dir), field, name, recipe)

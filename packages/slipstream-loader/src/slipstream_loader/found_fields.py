"""Derived fields that a loader can do without: those that cannot be read are as good as none."""

from __future__ import annotations

import logging

from slipstream_cache import (
    CorruptCacheError,
    DerivedNotFoundError,
    DerivedReader,
    ManifestError,
    Recipe,
    SampleReader,
    UnsupportedVersionError,
)

_logger = logging.getLogger(__name__)


def find_derived(
    cache: SampleReader, field: str, name: str, recipe: Recipe
) -> DerivedReader | None:
    """A derived field, or None, with a warning where it is damaged or of a newer version.

    Raises
    ------
    FieldNotFoundError
        If there is no such image field.
    """
    try:
        return cache.derived(field, name, recipe)
    except DerivedNotFoundError:
        return None
    except (CorruptCacheError, ManifestError, UnsupportedVersionError) as error:
        _logger.warning("%s.%s is not used, and made again if needed: %s", field, name, error)
        return None

"""What an open cache and its views have in common: samples that are read by their ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache.page_cache import prefetch
from slipstream_cache.source import FieldSpec

if TYPE_CHECKING:
    from slipstream_cache.cache import SampleCache
    from slipstream_cache.derived import DerivedReader, Recipe
    from slipstream_cache.payloads import Payloads
    from slipstream_cache.value_index import ValueIndex


class SampleReader(ABC):
    """Samples 0 to ``len``, excluded, of one cache or of a view of some.

    All methods may be called from several threads, and pickles are small: they hold the places of
    caches and not their samples.
    """

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Number of samples; valid ids are 0 to this, excluded."""

    @property
    @abstractmethod
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored, in the source's order."""

    @property
    @abstractmethod
    def key(self) -> str:
        """16 hexadecimal characters that say what the samples are: equal keys, equal samples."""

    @property
    @abstractmethod
    def caches(self) -> tuple[SampleCache, ...]:
        """The caches that hold the samples, each once."""

    @abstractmethod
    def load_batch(self, ids: ArrayLike, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Copy samples out; see ``SampleCache.load_batch``."""

    @abstractmethod
    def payloads(self, field: str, ids: ArrayLike) -> Payloads:
        """Return where images are in memory; see ``SampleCache.payloads``."""

    @abstractmethod
    def conditions(self, field: str) -> NDArray[np.uint8]:
        """Return the ``Condition`` of every sample's image, shape (num_samples,)."""

    @abstractmethod
    def value_index(self, field: str) -> ValueIndex:
        """Return which samples have each value; see ``SampleCache.value_index``."""

    @abstractmethod
    def derived(self, field: str, name: str, recipe: Recipe | None = None) -> DerivedReader:
        """Open a derived field; see ``SampleCache.derived``."""

    def prefetch(self, field: str, ids: ArrayLike) -> None:
        """Ask the system to read images into memory, without waiting for them.

        Called some batches ahead, it makes random reads of data that is not in memory as fast as
        the disk answers many of them at a time, instead of one after another.

        Parameters
        ----------
        field : str
            Name of an image field.
        ids : array-like of int, shape (B,)
            Sample ids.

        Raises
        ------
        SampleIdError, FieldNotFoundError, CorruptCacheError
            As ``payloads``.
        """
        prefetch(self.payloads(field, ids))

    @property
    def image_fields(self) -> list[str]:
        """Names of the image fields."""
        return [name for name, spec in self.fields.items() if spec.kind == "image"]

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, sample_id: int) -> dict[str, Any]:
        """Return one sample: NumPy scalars and arrays, str, bytes, JSON values; images as bytes."""
        batch = self.load_batch(np.array([_as_id(sample_id)]))
        return {
            name: value["data"].tobytes() if isinstance(value, dict) else value[0]
            for name, value in batch.items()
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[sample_id] for sample_id in range(len(self)))


def _as_id(sample_id: int) -> int:
    try:
        return sample_id.__index__()
    except AttributeError:
        raise TypeError(f"a sample id is an int, got {type(sample_id).__name__}") from None

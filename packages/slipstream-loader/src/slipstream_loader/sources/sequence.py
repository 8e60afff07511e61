"""Samples in memory, and map-style data sets: whatever has a length and an index."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from slipstream_cache import FieldSpec
from slipstream_loader.after_fork import restart_now_and_after_fork
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources.content_hash import hash_samples
from slipstream_loader.sources.sample_form import SampleForm
from slipstream_loader.sources.torchvision_folder import (
    FolderFiles,
    files_listed_by,
    has_transform,
)

_logger = logging.getLogger(__name__)

_NAMED_RECIPE: Final = "named samples 1"


@runtime_checkable
class Samples(Protocol):
    """What can be indexed by position: a list, a torch map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class SequenceSource:
    """Samples in memory, or a map-style data set such as those of torchvision.

    How each field is stored is told from sample 0 (`slipstream_cache.infer_field_types`); every
    sample must have the same fields. Pillow images, and the dicts ``{"bytes": ..., "path": ...}``
    of Hugging Face, become the bytes of an image file: those of the original file where the image
    still has it, otherwise PNG or TIFF without loss. A file named by ``"path"`` alone is never
    opened. A torchvision ``ImageFolder`` without transforms gives the files that it lists.

    Parameters
    ----------
    samples : sequence
        A list or tuple, or an object with ``len`` and integer indexing. Its samples are dicts,
        named tuples, dataclasses, or pairs of image and label; see ``SampleForm``. A transform of
        it is applied once, when the cache is built, which is warned about.
    name : str, optional
        A name for this content, which takes the place of its fingerprint: choose another one when
        the samples change. Needed for an object that is no list or tuple and has no attribute (or
        method) ``fingerprint`` or ``dataset_hash``.
    fields : sequence of str, optional
        Names for the values of samples that are tuples or single values.
    images : sequence of str
        Fields whose arrays or tensors are images; others are kept as arrays.
    is_thread_safe : bool
        Whether the object may be asked by several threads at a time. Data sets that are made for
        worker processes often may not, so by default they are asked by one thread after another.

    Raises
    ------
    SourceError
        When the samples cannot be indexed, are of another kind, or have no fingerprint;
        `EmptyDatasetError` when there are none.
    """

    kind: Final = "sequence"

    def __init__(
        self,
        samples: Samples,
        name: str | None = None,
        *,
        fields: Sequence[str] | None = None,
        images: Sequence[str] = (),
        is_thread_safe: bool = False,
    ) -> None:
        if not isinstance(samples, Samples) or isinstance(samples, (str, bytes, Mapping)):
            raise SourceError(
                f"{described(samples)} is not a sequence of samples; expected a list of dicts, or "
                "an object with len() and integer indexing"
            )
        if has_transform(samples):
            _logger.warning(
                "%s has a transform: each sample is stored as it gives it once, with random crops "
                "and flips as they fall; take it off, and give stages to the loader: pipelines=",
                described(samples),
            )
        samples = files_listed_by(samples) or samples
        self._samples = samples
        self._name = name
        self._form = SampleForm(fields, images)
        self._is_thread_safe = is_thread_safe or isinstance(samples, (list, tuple, FolderFiles))
        restart_now_and_after_fork(self)
        self._fingerprint = _given_fingerprint(samples, name, self._form)
        if len(samples) == 0:
            raise EmptyDatasetError(f"{described(samples)} has no samples")
        self._field_types = self._form.field_types(self._sample(0), self.describe(0))

    def restart(self) -> None:
        """See ``after_fork``."""
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """The name, or the type of the object, as ``memory:...``; the folder of torchvision's."""
        if isinstance(self._samples, FolderFiles):
            return self._samples.root
        return f"memory:{self._name or type(self._samples).__name__}"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of sample 0."""
        return dict(self._field_types)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        return self._form.apply(self._sample(index), self.describe(index))

    def sample_bytes(self, index: int, /) -> int | None:
        """Bytes of a file of torchvision's ``ImageFolder``; None: not known."""
        return self._samples.num_bytes(index) if isinstance(self._samples, FolderFiles) else None

    def fingerprint(self) -> str:
        """Hash of the name, of the object's own fingerprint, or else of all values."""
        if self._fingerprint is None:
            self._fingerprint = hash_samples(
                self._form.content(self._sample(index), self.describe(index))
                for index in range(len(self))
            )
            if self._form.options:
                text = "\0".join([self._fingerprint, *self._form.options])
                self._fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return self._fingerprint

    def describe(self, index: int, /) -> str:
        """Return ``name[index]``; the path of a file of torchvision's ``ImageFolder``."""
        if isinstance(self._samples, FolderFiles):
            return self._samples.describe(index)
        return f"{self._name or 'samples'}[{index}]"

    def __repr__(self) -> str:
        return f"SequenceSource({self.uri}: {len(self)} samples)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        restart_now_and_after_fork(self)

    def _sample(self, index: int) -> Any:
        if self._is_thread_safe:
            return self._samples[index]
        with self._lock:
            return self._samples[index]


def _given_fingerprint(samples: Samples, name: str | None, form: SampleForm) -> str | None:
    """Return the fingerprint of a name or of the object's own; None if values are to be hashed."""
    if name is not None:
        own: object = name
    elif isinstance(samples, (list, tuple)):
        return None
    else:
        own = getattr(samples, "fingerprint", None) or getattr(samples, "dataset_hash", None)
        own = own() if callable(own) else own
    if not isinstance(own, str) or not own:
        raise SourceError(
            f"{described(samples)} has no fingerprint, so its cache could not be found again; "
            "name its content: name='my-data-v1', or make it a list"
        )
    recipes = [_NAMED_RECIPE]
    if name is not None and isinstance(samples, FolderFiles):
        recipes.append(samples.recipe)  # a name does not tell files from pixels decoded from them
    text = "\0".join([*recipes, str(len(samples)), own, *form.options])
    return hashlib.sha256(text.encode()).hexdigest()


def described(value: object) -> str:
    """Name an object for a message."""
    return f"an object of type {type(value).__name__}"

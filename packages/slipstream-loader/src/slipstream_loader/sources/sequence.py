"""Samples in memory: a list of dicts, or any data set object that returns dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

from PIL import Image

from slipstream_cache import FieldSpec, infer_field_types
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.image_files import BAD_IMAGE_ERRORS, describe_problem
from slipstream_loader.sources.content_hash import hash_samples
from slipstream_loader.sources.pil_files import file_of

_NAMED_RECIPE: Final = "named samples 1"


@runtime_checkable
class Samples(Protocol):
    """What can be indexed by position: a list, a torch map-style data set, a Hugging Face one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class SequenceSource:
    """Dicts in memory, or a data set object whose samples are dicts.

    How each field is stored is told from sample 0 (`slipstream_cache.infer_field_types`); every
    sample must have the same fields. Pillow images, and the dicts ``{"bytes": ..., "path": ...}``
    of Hugging Face, become the bytes of an image file: those of the original file where the image
    still has it, otherwise PNG or TIFF without loss. A file named by ``"path"`` alone is never
    opened.

    Parameters
    ----------
    samples : sequence of mappings
        A list or tuple, or an object with ``len`` and integer indexing from several threads.
    name : str, optional
        A name for this content, which takes the place of its fingerprint: choose another one when
        the samples change. Needed for an object that is no list or tuple and has no attribute (or
        method) ``fingerprint`` or ``dataset_hash``.

    Raises
    ------
    SourceError
        When the samples cannot be indexed, are no mappings, or have no fingerprint;
        `EmptyDatasetError` when there are none.
    """

    kind: Final = "sequence"

    def __init__(self, samples: Samples, name: str | None = None) -> None:
        if not isinstance(samples, Samples) or isinstance(samples, (str, bytes, Mapping)):
            raise SourceError(
                f"{_described(samples)} is not a sequence of samples; expected a list of dicts, or "
                "an object with len() and integer indexing"
            )
        self._samples = samples
        self._name = name
        self._fingerprint = _given_fingerprint(samples, name)
        if len(samples) == 0:
            raise EmptyDatasetError(f"{_described(samples)} has no samples")
        first = self._sample(0)
        inferred = infer_field_types(self[0])
        self._field_types = {
            field: FieldSpec("image") if _is_image(first[field]) else spec
            for field, spec in inferred.items()
        }

    @property
    def uri(self) -> str:
        """The name, or the type of the object, as ``memory:...``."""
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
        return {
            field: self._file_of(value, field, index) if _is_image(value) else value
            for field, value in self._sample(index).items()
        }

    def fingerprint(self) -> str:
        """Hash of the name, of the object's own fingerprint, or else of all values."""
        if self._fingerprint is None:
            self._fingerprint = hash_samples(
                {field: _without_path(value) for field, value in self._sample(index).items()}
                for index in range(len(self))
            )
        return self._fingerprint

    def describe(self, index: int, /) -> str:
        """Return ``name[index]``."""
        return f"{self._name or 'samples'}[{index}]"

    def __repr__(self) -> str:
        return f"SequenceSource({self.uri}: {len(self)} samples)"

    def _sample(self, index: int) -> Mapping[str, Any]:
        sample = self._samples[index]
        if not isinstance(sample, Mapping):
            raise SourceError(
                f"{self.describe(index)} is a {type(sample).__name__}; expected a dict of field "
                "name to value: wrap the data set so that it returns dicts"
            )
        return sample

    def _file_of(self, value: Any, field: str, index: int) -> bytes:
        where = f"field {field!r} of {self.describe(index)}"
        if isinstance(value, Image.Image):
            try:
                return file_of(value)
            except BAD_IMAGE_ERRORS as error:
                raise SampleReadError(f"{where}: {describe_problem(error)}") from error
        data = value["bytes"]
        if data is None:
            raise SampleReadError(
                f"{where} has no bytes, only the path {value['path']!r}, which is not opened; "
                "embed the files, or let the data set decode its images"
            )
        return bytes(data)


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image) or _is_image_dict(value)


def _is_image_dict(value: Any) -> bool:
    """Tell whether a value is an image as Hugging Face keeps it undecoded."""
    return (
        isinstance(value, dict)
        and value.keys() == {"bytes", "path"}
        and isinstance(value["bytes"], (bytes, type(None)))
        and isinstance(value["path"], (str, type(None)))
    )


def _without_path(value: Any) -> Any:
    """Leave out where an image came from: that is no content."""
    return value["bytes"] if _is_image_dict(value) else value


def _given_fingerprint(samples: Samples, name: str | None) -> str | None:
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
            f"{_described(samples)} has no fingerprint, so its cache could not be found again; "
            "name its content: SequenceSource(samples, name='my-data-v1'), or make it a list"
        )
    return hashlib.sha256(f"{_NAMED_RECIPE}\0{len(samples)}\0{own}".encode()).hexdigest()


def _described(value: object) -> str:
    return f"an object of type {type(value).__name__}"

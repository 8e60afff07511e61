"""From a sample as a data set gives it to the fields that a cache stores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from PIL import Image

from slipstream_cache import FieldSpec, infer_field_types
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.image_files import BAD_IMAGE_ERRORS, describe_problem, image_of_array
from slipstream_loader.sources.pil_files import file_of

PAIR: Final = ("image", "label")
"""Names of the values of samples that are pairs."""


class SampleForm:
    """Names the values of a sample, and turns images of any kind into files.

    A sample may be a mapping, a named tuple or a dataclass; a pair, whose values are ``image`` and
    ``label``; or, with `fields`, any tuple or a single value. A mapping in a mapping that holds
    images gives fields of its own, such as ``views.left``.

    Parameters
    ----------
    fields : sequence of str, optional
        Names for the values of tuples.
    images : sequence of str
        Fields whose arrays or tensors are images: uint8 of shape (H, W), (H, W, C) or (C, H, W)
        with 1, 3 or 4 channels, or uint16 of shape (H, W). Other fields keep their arrays as they
        are.
    """

    def __init__(self, fields: Sequence[str] | None = None, images: Sequence[str] = ()) -> None:
        if isinstance(fields, str) or isinstance(images, str):
            raise TypeError("fields and images are lists of names, not a string")
        self._fields = None if fields is None else tuple(fields)
        self._images = frozenset(images)

    @property
    def options(self) -> list[str]:
        """What decides about the fields beside the samples, for a fingerprint; empty by default."""
        if self._fields is None and not self._images:
            return []
        return [json.dumps([self._fields, sorted(self._images)])]

    def field_types(self, sample: Any, where: str) -> dict[str, FieldSpec]:
        """Tell from one sample how its fields are stored."""
        raw = self._named(sample, where)
        unknown = sorted(self._images - raw.keys())
        if unknown:
            raise SourceError(f"{where} has no field {unknown[0]!r}; it has {list(raw)}")
        inferred = infer_field_types(self.apply(sample, where))
        return {
            name: FieldSpec("image") if self._is_image(name, raw[name]) else spec
            for name, spec in inferred.items()
        }

    def apply(self, sample: Any, where: str) -> dict[str, Any]:
        """The fields of a sample, images as the bytes of files.

        Raises
        ------
        SourceError
            The sample is of none of the kinds above.
        SampleReadError
            An image of it cannot be read.
        """
        return {
            name: self._file_of(value, f"field {name!r} of {where}")
            if self._is_image(name, value)
            else value
            for name, value in self._named(sample, where).items()
        }

    def content(self, sample: Any, where: str) -> dict[str, Any]:
        """The values to make a fingerprint of: all but the places that images came from."""
        return {
            name: value["bytes"] if is_image_dict(value) else value
            for name, value in self._named(sample, where).items()
        }

    def _is_image(self, name: str, value: Any) -> bool:
        return isinstance(value, Image.Image) or is_image_dict(value) or name in self._images

    def _named(self, sample: Any, where: str) -> dict[str, Any]:
        if self._fields is not None and not isinstance(sample, Mapping):
            values = list(sample) if isinstance(sample, (tuple, list)) else [sample]
            if len(values) != len(self._fields):
                raise SourceError(f"{where} has {len(values)} values for fields {self._fields}")
            pairs: Iterator[tuple[str, Any]] = zip(self._fields, values, strict=True)
        elif isinstance(sample, Mapping):
            pairs = iter(sample.items())
        elif isinstance(sample, tuple) and hasattr(sample, "_fields"):
            pairs = zip(sample._fields, sample, strict=True)
        elif dataclasses.is_dataclass(sample) and not isinstance(sample, type):
            names = [field.name for field in dataclasses.fields(sample)]
            pairs = ((name, getattr(sample, name)) for name in names)
        elif isinstance(sample, (tuple, list)) and len(sample) == len(PAIR):
            pairs = zip(PAIR, sample, strict=True)
        else:
            size = f" of {len(sample)} values" if isinstance(sample, (tuple, list)) else ""
            raise SourceError(
                f"{where} is a {type(sample).__name__}{size}; expected a dict of field name to "
                "value, or a pair of image and label: name the values with fields=(...)"
            )
        return dict(_flattened(pairs))

    def _file_of(self, value: Any, where: str) -> bytes:
        if is_image_dict(value):
            data = value["bytes"]
            if data is None:
                raise SampleReadError(
                    f"{where} has no bytes, only the path {value['path']!r}, which is not opened; "
                    "embed the files, let the data set decode its images, or give "
                    "HuggingFaceSource(dataset, allow_paths=True) if you trust who made it"
                )
            return bytes(data)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        image = value if isinstance(value, Image.Image) else _image_of(value, where)
        try:
            return file_of(image)
        except BAD_IMAGE_ERRORS as error:
            raise SampleReadError(f"{where}: {describe_problem(error)}") from error


def is_image_dict(value: Any) -> bool:
    """Tell whether a value is an image as Hugging Face keeps it undecoded."""
    return (
        isinstance(value, dict)
        and value.keys() == {"bytes", "path"}
        and isinstance(value["bytes"], (bytes, type(None)))
        and isinstance(value["path"], (str, type(None)))
    )


def _flattened(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Fields of mappings that hold images, under names such as ``views.left``."""
    for name, value in pairs:
        if isinstance(value, dict) and not is_image_dict(value) and _holds_image(value):
            yield from _flattened((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _holds_image(value: Any) -> bool:
    if isinstance(value, dict) and not is_image_dict(value):
        return any(map(_holds_image, value.values()))
    return isinstance(value, Image.Image) or is_image_dict(value)


def _image_of(value: Any, where: str) -> Image.Image:
    """An array or tensor as a Pillow image with the same pixels."""
    try:
        return image_of_array(value)
    except ValueError as error:
        raise SourceError(f"{where} is {error}") from error

"""From items and rows to samples: dicts of fields."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.litdata.index import LitDataIndex, UnknownLayoutError
from slipstream_loader.sources.litdata.leaves import LeafKind, leaf_kind
from slipstream_loader.sources.litdata.tree import Field, UnknownTreeError, fields_of

_MAX_SHOWN: Final = 8


@dataclass(frozen=True)
class SampleLayout:
    """The fields of a data set's samples, and how each leaf is read."""

    fields: Mapping[str, Field]
    leaves: tuple[LeafKind, ...]

    @property
    def image_fields(self) -> frozenset[str]:
        """The fields that are image files because of their kind."""
        return frozenset(
            name
            for name, field in self.fields.items()
            if field.node.kind == "leaf" and self.leaves[field.node.leaf].is_image
        )

    def of_item(self, item: bytes) -> dict[str, Any]:
        """Return the sample in an item.

        Raises
        ------
        SampleReadError
            It is damaged.
        """
        count = len(self.leaves)
        try:
            sizes = struct.unpack_from(f"<{count}I", item)
        except struct.error:
            raise SampleReadError(
                f"an item of {len(item)} bytes, too few for the sizes of {count} leaves"
            ) from None
        start = 4 * count
        if start + sum(sizes) != len(item):
            raise SampleReadError(
                f"an item of {len(item)} bytes, but its {count} leaves have "
                f"{start + sum(sizes)}: it is damaged"
            )
        values = []
        for leaf, size in zip(self.leaves, sizes, strict=True):
            values.append(leaf.decode(item[start : start + size]))
            start += size
        return {name: field.node.build(values) for name, field in self.fields.items()}

    def of_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sample in a row of a table; columns that no field takes are kept."""
        known = {field.path[0] for field in self.fields.values()}
        extra = {
            name: value for name, value in row.items() if name not in known and value is not None
        }
        return {**{name: _at(row, field) for name, field in self.fields.items()}, **extra}


def sample_layout(index: LitDataIndex, *, allow_pickle: bool) -> SampleLayout:
    """Return the layout of the samples that an index describes.

    Raises
    ------
    UnknownLayoutError
        They have no fields that can be told apart.
    SourceError
        A leaf cannot be stored.
    """
    leaves = tuple(leaf_kind(name, allow_pickle=allow_pickle) for name in index.leaves)
    try:
        fields = fields_of(index.tree, [leaf.is_json for leaf in leaves], _name_of_single(leaves))
    except UnknownTreeError as error:
        raise UnknownLayoutError(str(error)) from error
    if not fields:
        raise SourceError("the samples are empty dicts")
    return SampleLayout(fields, leaves)


def _name_of_single(leaves: tuple[LeafKind, ...]) -> str:
    """Name the only field of samples that are no dicts."""
    return "image" if leaves[0].is_image else "value"


def _at(row: Mapping[str, Any], field: Field) -> Any:
    value: Any = row
    for key in field.path:
        if value is None:
            return None
        if not isinstance(value, Mapping) or key not in value:
            raise SampleReadError(f"a row without {'.'.join(field.path)!r}")
        value = value[key]
    return value

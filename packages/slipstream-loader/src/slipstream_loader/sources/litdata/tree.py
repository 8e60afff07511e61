"""How the leaves of a sample make up its fields.

LitData flattens a sample (dicts, lists and tuples, nested) to a list of leaves, and keeps its shape
as JSON. Here a sample is a dict of fields, so the shape decides their names:

- a dict has a field for each key; a pair has ``"image"`` and ``"label"``, as pairs of other sources
  have; a longer list or tuple has ``"0"``, ``"1"``...; a single value is one field, ``"image"`` or
  ``"value"``;
- what is nested deeper is one field of JSON values if all its leaves are JSON values, otherwise a
  field for each leaf, named like ``"boxes.xyxy"``. A dict of ``bytes`` and ``path`` is a file, and
  one field: its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from slipstream_loader.sources.sample_form import PAIR

_DICTS: Final = ("builtins.dict", "collections.OrderedDict")
_SEQUENCES: Final = ("builtins.list", "builtins.tuple")
_MAX_DEPTH: Final = 64
_BYTES: Final = "bytes"


class UnknownTreeError(ValueError):
    """The shape of the samples is not one of those known here."""


@dataclass(frozen=True)
class Node:
    """A container, or a leaf."""

    kind: Literal["dict", "list", "leaf"]
    keys: tuple[str, ...] = ()
    """Names of the children; for lists their positions."""
    children: tuple[Node, ...] = ()
    leaf: int = -1
    """Position of a leaf in the list of leaves."""

    def leaves(self) -> Iterator[int]:
        """Yield the positions of all leaves below, in order."""
        if self.kind == "leaf":
            yield self.leaf
        for child in self.children:
            yield from child.leaves()

    def build(self, values: Sequence[Any]) -> Any:
        """Make the container again from the values of the leaves; inside, all are JSON values."""
        if self.kind == "leaf":
            return values[self.leaf]
        built = [_as_json(child.build(values)) for child in self.children]
        return dict(zip(self.keys, built, strict=True)) if self.kind == "dict" else built


def _as_json(value: Any) -> Any:
    """Turn NumPy scalars into numbers of Python."""
    return value.item() if isinstance(value, np.generic) else value


def parse_tree(spec: Any, num_leaves: int) -> Node:
    """Read the shape of a sample from ``data_spec``.

    Raises
    ------
    UnknownTreeError
        It is of another version, or has containers other than dict, list and tuple.
    ValueError
        It is damaged, or has another number of leaves.
    """
    try:
        version, root = json.loads(spec)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON of a version and a tree: {error}") from error
    if version != 1:
        raise UnknownTreeError(f"version {version!r}, expected 1")
    tree, count = _parse_node(root, 0, 0)
    if count != num_leaves:
        raise ValueError(f"it has {count} leaves, but data_format has {num_leaves}")
    return tree


class Field(NamedTuple):
    """A field of a sample."""

    path: tuple[str, ...]
    """Keys that lead to it; empty if it is the sample itself."""
    node: Node


def fields_of(tree: Node, is_json: Sequence[bool], single: str) -> dict[str, Field]:
    """Return the fields of a sample by their names.

    Parameters
    ----------
    tree : Node
        Shape of a sample.
    is_json : sequence of bool
        For each leaf, whether it is a JSON value.
    single : str
        Name of the field if a sample is no container.

    Raises
    ------
    UnknownTreeError
        Two fields would have one name.
    """
    if tree.kind == "list" and len(tree.children) == len(PAIR):
        tree = replace(tree, keys=PAIR)
    fields: dict[str, Field] = {}
    for path, node in _fields_below(tree, (), is_json):
        name = ".".join(path) or single
        if name in fields:
            raise UnknownTreeError(f"two fields would be named {name!r}")
        if _is_file(node, is_json):
            path, node = (*path, _BYTES), node.children[node.keys.index(_BYTES)]
        fields[name] = Field(path, node)
    return fields


def _is_file(node: Node, is_json: Sequence[bool]) -> bool:
    if node.kind != "dict" or set(node.keys) != {_BYTES, "path"}:
        return False
    return not is_json[node.children[node.keys.index(_BYTES)].leaf]


def _fields_below(
    node: Node, path: tuple[str, ...], is_json: Sequence[bool]
) -> Iterator[tuple[tuple[str, ...], Node]]:
    is_value = all(is_json[leaf] for leaf in node.leaves()) or _is_file(node, is_json)
    if node.kind == "leaf" or (path and is_value):
        yield path, node
        return
    for key, child in zip(node.keys, node.children, strict=True):
        yield from _fields_below(child, (*path, key), is_json)


def _parse_node(document: Any, leaf: int, depth: int) -> tuple[Node, int]:
    """Return a node, and the position of the leaf that comes next."""
    if not isinstance(document, dict) or depth > _MAX_DEPTH:
        raise ValueError("it is damaged")
    kind, children = document.get("type"), document.get("children_spec")
    if kind is None:
        return Node("leaf", leaf=leaf), leaf + 1
    if kind not in _DICTS + _SEQUENCES or not isinstance(children, list):
        raise UnknownTreeError(f"a container of type {kind!r}")
    nodes = []
    for child in children:
        node, leaf = _parse_node(child, leaf, depth + 1)
        nodes.append(node)
    if kind in _SEQUENCES:
        return Node("list", tuple(map(str, range(len(nodes)))), tuple(nodes)), leaf
    keys = _parse_keys(document.get("context"))
    if len(keys) != len(nodes) or len(set(keys)) != len(keys):
        raise ValueError(f"a dict of {len(nodes)} values with the keys {keys}")
    return Node("dict", keys, tuple(nodes)), leaf


def _parse_keys(context: Any) -> tuple[str, ...]:
    try:
        keys = json.loads(context) if isinstance(context, str) else context
    except ValueError as error:
        raise ValueError(f"keys {context!r}: {error}") from error
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise ValueError(f"keys {context!r}; expected a list of names")
    return tuple(map(str, keys))

"""Kernel state as bytes and back, bit for bit, without pickle.

A file has a magic number, the length of a JSON header, the header, arrays as .npy files one after
another, and a BLAKE2b digest of all of that. The header is the tree of the state; leaves that JSON
cannot hold exactly are arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np

from sqrtspace_streams._state import copy_state
from sqrtspace_streams.errors import DamagedResumeError

_MAGIC = b"SQRTSTATE\x00\x01\n"  # the version is the byte before the last
_DIGEST_BYTES = 16
_HEADER = len(_MAGIC) + 8


def encode(state: Any) -> bytes:
    """A state as bytes.

    Raises
    ------
    StateError
        If it holds anything else than kernel state may.
    """
    blobs: list[bytes] = []
    tree = _tree(copy_state(state), blobs)
    header = json.dumps({"tree": tree, "sizes": [len(blob) for blob in blobs]}).encode()
    body = b"".join([_MAGIC, len(header).to_bytes(8, "little"), header, *blobs])
    return body + _digest(body)


def decode(data: bytes, where: str) -> Any:
    """The state of `encode`.

    Raises
    ------
    DamagedResumeError
        If a single bit differs from what was written, or it is something else; ``where`` is named.
    """
    if not data.startswith(_MAGIC):
        raise DamagedResumeError(f"{where} is no state of this version: expected {_MAGIC!r}")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if len(body) < _HEADER or _digest(body) != digest:
        raise DamagedResumeError(
            f"{where} was altered or cut off (its digest differs): delete the directory to begin "
            "anew, or restore it from a copy"
        )
    size = int.from_bytes(body[len(_MAGIC) : _HEADER], "little")
    header = json.loads(body[_HEADER : _HEADER + size])
    blobs, first = [], _HEADER + size
    for length in header["sizes"]:
        blobs.append(body[first : first + length])
        first += length
    return _state(header["tree"], blobs)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _tree(state: Any, blobs: list[bytes]) -> Any:
    """JSON of a state: null, a boolean, a string, or a list that begins with a kind."""
    if state is None or isinstance(state, bool) or type(state) is str:
        return state
    if type(state) is int:
        return ["int", str(state)]
    if type(state) in (float, complex):
        return [type(state).__name__, _array(np.asarray(state), blobs)]
    if type(state) is bytes:
        blobs.append(state)
        return ["bytes", len(blobs) - 1]
    if isinstance(state, np.generic):
        return ["scalar", _array(np.asarray(state), blobs)]
    if isinstance(state, np.ndarray):
        return ["array", _array(state, blobs)]
    if isinstance(state, dict):
        items = [[_tree(k, blobs), _tree(v, blobs)] for k, v in state.items()]
        return ["dict", items]
    return [type(state).__name__, [_tree(value, blobs) for value in state]]


def _array(array: Any, blobs: list[bytes]) -> int:
    """Number of the blob that holds an array as a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    blobs.append(file.getvalue())
    return len(blobs) - 1


def _state(tree: Any, blobs: list[bytes]) -> Any:
    if not isinstance(tree, list):
        return tree
    kind, value = tree
    if kind == "int":
        return int(value)
    if kind == "bytes":
        return blobs[value]
    if kind == "dict":
        return {_state(k, blobs): _state(v, blobs) for k, v in value}
    if kind in ("list", "tuple"):
        values = [_state(item, blobs) for item in value]
        return values if kind == "list" else tuple(values)
    array = np.lib.format.read_array(io.BytesIO(blobs[value]), allow_pickle=False)
    if kind == "array":
        return array
    return array[()] if kind == "scalar" else array.item()

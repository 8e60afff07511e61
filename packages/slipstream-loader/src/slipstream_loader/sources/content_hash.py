"""A fingerprint of values in memory: equal for equal samples, in any process."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from PIL import Image

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.pil_files import content_of

_RECIPE: Final = b"samples 1"


def hash_samples(samples: Iterable[Mapping[str, Any]]) -> str:
    """Return a hash of all values with their types: 64 hexadecimal characters.

    Lists and tuples count as the same, and the order of the keys of a mapping does not count. NumPy
    values and tensors are hashed with dtype and shape, so ``1``, ``1.0``, ``True`` and
    ``np.int8(1)`` all differ.

    Raises
    ------
    SourceError
        When a value is of a type whose content cannot be told.
    """
    digest = hashlib.sha256(_RECIPE)
    for sample_id, sample in enumerate(samples):
        try:
            for piece in _pieces(sample):
                digest.update(piece)
        except TypeError as error:
            raise SourceError(
                f"cannot compute a fingerprint: sample {sample_id}: {error}; "
                "wrap the samples as SequenceSource(samples, name=...) with a name of your choice"
            ) from error
    return digest.hexdigest()


def _pieces(value: Any) -> Iterable[bytes]:
    """Yield bytes that no other value yields: each is tagged with its type and its length."""
    if value is None or isinstance(value, bool):
        yield _tagged(b"constant", str(value).encode())
    elif isinstance(value, int):
        yield _tagged(b"int", b"%d" % value)
    elif isinstance(value, float):
        yield _tagged(b"float", struct.pack("<d", value))
    elif isinstance(value, str):
        yield _tagged(b"str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        yield _tagged(b"bytes", bytes(value))
    elif isinstance(value, Image.Image):
        yield b"image "
        yield from (_tagged(b"bytes", part) for part in content_of(value))
    elif isinstance(value, Mapping):
        yield b"mapping %d " % len(value)
        for key in sorted(value):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, (list, tuple)):
        yield b"list %d " % len(value)
        for item in value:
            yield from _pieces(item)
    else:
        yield from _array_pieces(value)


def _array_pieces(value: Any) -> Iterable[bytes]:
    """Yield the pieces of a NumPy scalar or array, or of what converts to one."""
    if not hasattr(value, "__array__"):
        raise TypeError(f"a value of type {type(value).__name__} has no canonical content")
    array = np.asarray(value)
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    if array.dtype.hasobject:
        raise TypeError("an array of Python objects has no canonical content")
    yield _tagged(b"array", f"{array.dtype.str} {np.shape(value)}".encode())
    yield _tagged(b"bytes", array.tobytes())


def _tagged(tag: bytes, content: bytes) -> bytes:
    return b"%b %d " % (tag, len(content)) + content

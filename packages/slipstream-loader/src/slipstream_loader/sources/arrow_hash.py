"""Hashes of the values of Arrow tables, however their memory is divided; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slipstream_cache.file_hashes import content_hash
from slipstream_loader.sources.arrow_values import (
    flags_of,
    has_payloads,
    is_payload,
    payload_bytes,
)

if TYPE_CHECKING:
    import pyarrow as pa


def hash_of_table(table: pa.Table) -> bytes:
    """Return a hash of all values of a table, the same for equal values of the same types.

    Names and types of the columns are not part of it, nor is how the rows are cut into chunks.
    What lies in memory where a number is missing is part of it: tables with nulls that different
    programs have made may differ here though they are equal.
    """
    digest = content_hash()
    for column in table.columns:
        _add(digest, [chunk for chunk in column.chunks if len(chunk)], column.type)
    return digest.digest()


def _add(digest: Any, chunks: Sequence[pa.Array], kind: pa.DataType) -> None:
    import pyarrow as pa

    if not has_payloads(kind):
        array = pa.chunked_array(chunks, kind).combine_chunks()
        digest.update(memoryview(pa.record_batch([array], ["values"]).serialize()))
        return
    for chunk in chunks:
        digest.update(flags_of(chunk))
    if is_payload(kind):
        payloads = [payload_bytes(chunk) for chunk in chunks]
        for offsets, _ in payloads:
            digest.update(np.diff(offsets).astype("<i8"))
        for offsets, data in payloads:
            digest.update(data[int(offsets[0]) : int(offsets[-1])])
    else:
        for k in range(kind.num_fields):
            _add(digest, [chunk.field(k) for chunk in chunks], kind.field(k).type)

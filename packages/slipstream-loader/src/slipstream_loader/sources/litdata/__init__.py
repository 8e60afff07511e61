"""Data sets that LitData has written, read by our own code.

::

    fallback.py                              layouts that only litdata itself reads
        │
    source.py ── index.py ── tree.py         index.json: the chunks, and the shape of a sample
        │
        ├── samples.py ── leaves.py          from items and rows to dicts of fields
        │                   ├── pickles.py   NumPy scalars, and nothing else
        │                   └── nested.py    lists and dicts
        └── chunks.py                        here already, or to be downloaded and unpacked
              ├── items.py ── zstd.py        plain chunks and compressed ones
              ├── arrow_rows.py              chunks of Arrow rows
              │     ├── arrow_columns.py
              │     └── arrow_messages.py
              └── ranges.py                  bytes of a file, or of an object of a store
"""

from slipstream_loader.sources.litdata.fallback import open_litdata
from slipstream_loader.sources.litdata.index import NoIndexError, UnknownLayoutError
from slipstream_loader.sources.litdata.source import LitDataSource, is_litdata

__all__ = ["LitDataSource", "NoIndexError", "UnknownLayoutError", "is_litdata", "open_litdata"]

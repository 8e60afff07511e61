"""The cache alone: build one from numbers and read it, where torch is not installed."""

import hashlib
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import slipstream_cache
from visionlab.slipstream import FieldSpec, OptimizedCache, SampleCache, build


class Squares:
    """Ten samples."""

    uri = "squares"
    kind = "numbers"

    @property
    def field_types(self):
        return {"square": FieldSpec("dense", "<i8"), "text": FieldSpec("ragged", content="str")}

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"square": index * index, "text": "x" * index}

    def fingerprint(self):
        return hashlib.sha256(b"squares").hexdigest()

    def describe(self, index):
        return f"square {index}"


assert find_spec("torch") is None
assert OptimizedCache is SampleCache is slipstream_cache.SampleCache
with tempfile.TemporaryDirectory() as folder:
    cache_dir = Path(folder) / "slipcache-0000000000000000"
    build(Squares(), cache_dir)
    cache = SampleCache.open(cache_dir)
    assert len(cache) == 10
    batch = cache.load_batch([3, 9])
    assert batch["square"].tolist() == [9, 81]
    assert batch["text"] == ["xxx", "x" * 9]
    del cache, batch
assert "torch" not in sys.modules

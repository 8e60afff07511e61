"""The chunks of a data set: opened where they are, or brought here first.

Whoever reads a sample here and there gets it directly: by a few requests, by unpacking one frame.
Whoever reads samples in a row gets whole chunks, several at a time and ahead of time: downloaded or
unpacked to files that have no name, so that nothing is left of them, however the process ends.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from slipstream_loader.after_fork import restart_now_and_after_fork
from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.litdata.arrow_rows import (
    ArrowRows,
    KeptBatches,
    has_rows,
    num_batches,
)
from slipstream_loader.sources.litdata.index import ChunkInfo, LitDataIndex
from slipstream_loader.sources.litdata.items import FramedItems, Items, open_items
from slipstream_loader.sources.litdata.ranges import (
    ByteRanges,
    FileRanges,
    ObjectRanges,
    RangeReader,
)
from slipstream_loader.sources.litdata.zstd import unpack_blocks
from slipstream_loader.sources.object_store import ObjectStore

_THREADS: Final = 8
"""Chunks that are downloaded or unpacked at a time."""
_BYTES_AHEAD: Final = 1 << 29
_BYTES_KEPT: Final = 1 << 30
_CHUNKS_KEPT: Final = 256
_LEAST_KEPT: Final = 3
"""However large they are: the one before, this one and the next."""
_CHUNKS_OPEN: Final = 16
_SAMPLES_REMEMBERED: Final = 512
_RETRY_SECONDS: Final = 10.0
"""How long a chunk that could not be brought here is not tried again."""
_MAX_UNPACKED_BYTES: Final = (1 << 32) + (1 << 20)
"""Of a whole chunk: its offsets have 32 bits."""
_MAX_REMOTE_BATCHES: Final = 8
"""Arrow rows in more batches than this are not read by single requests."""

Chunk: TypeAlias = "Items | ArrowRows"


class Chunks:
    """Opens the chunks of a data set, from several threads.

    Parameters
    ----------
    location : Path or ObjectStore
        The directory, or what is below a URL.
    index : LitDataIndex
        What is there.
    download_dir : Path
        Where chunks are downloaded or unpacked to; it is made when it is needed.
    """

    def __init__(
        self, location: Path | ObjectStore, index: LitDataIndex, download_dir: Path
    ) -> None:
        self._location, self._index, self._download_dir = location, index, download_dir
        restart_now_and_after_fork(self)

    def restart(self) -> None:
        """See ``after_fork``."""
        self._lock = threading.Lock()
        self._direct: OrderedDict[int, Chunk] = OrderedDict()
        self._batches = KeptBatches()
        self._fetched: OrderedDict[int, Future[Chunk]] = OrderedDict()
        self._failed: dict[int, float] = {}
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._newest = -1
        self._pool: ThreadPoolExecutor | None = None

    def open(self, number: int, position: int) -> Chunk:
        """Open a chunk to read the sample at a position.

        Raises
        ------
        SampleReadError
            The chunk is damaged or missing.
        OSError
            It cannot be read.
        """
        with self._lock:
            chunk = self._direct.get(number)
            if chunk is not None and not self._is_slow(chunk):
                return chunk
            in_row = self._comes_next(self._index.first_samples[number] + position)
            fetched = self._fetch(number, ahead=in_row) if number in self._fetched else None
        if fetched is None and chunk is None:
            chunk = self._open_direct(number)
        if fetched is None and (chunk is None or (in_row and self._is_slow(chunk))):
            with self._lock:
                fetched = self._fetch(number, ahead=in_row)
        if fetched is None:
            assert chunk is not None
            return chunk
        try:
            return fetched.result()
        except CancelledError:
            raise SampleReadError("the source was closed while it was read") from None

    def begin(self) -> None:
        """Bring the first chunks here, for a reader who comes for all of them."""
        with self._lock:
            self._fetch(0, ahead=True)

    def close(self) -> None:
        """Stop what is being brought here, and close all chunks."""
        with self._lock:
            pool, self._pool = self._pool, None
            fetched = list(self._fetched.values())
            self._direct.clear()
            self._batches = KeptBatches()
            self._fetched.clear()
            self._newest = -1
        for future in fetched:
            future.cancel()
        if pool is not None:
            pool.shutdown(wait=True)

    def _is_slow(self, chunk: Chunk) -> bool:
        """Tell whether samples in a row are better read from a copy of the chunk."""
        return isinstance(self._location, ObjectStore) or isinstance(chunk, FramedItems)

    def _comes_next(self, sample_id: int) -> bool:
        """Remember a sample; tell whether the one before it was read lately."""
        self._recent[sample_id] = None
        while len(self._recent) > _SAMPLES_REMEMBERED:
            self._recent.popitem(last=False)
        return sample_id - 1 in self._recent

    def _fetch(self, number: int, *, ahead: bool) -> Future[Chunk]:
        """Bring a chunk here, and those that come after it."""
        chunks = self._index.chunks
        wanted = self._fetch_one(number)
        if number == self._newest:
            return wanted
        if ahead:
            self._newest = number
            num_bytes = 0
            for following in range(number + 1, min(number + _THREADS, len(chunks))):
                num_bytes += chunks[following].num_bytes
                if num_bytes > _BYTES_AHEAD and following > number + 1:
                    break
                self._fetch_one(following)
        self._fetched.move_to_end(number)
        self._forget_oldest()
        return wanted

    def _fetch_one(self, number: int) -> Future[Chunk]:
        future = self._fetched.get(number)
        if future is None or self._is_stale(number, future):
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, "slipstream-litdata")
            future = self._pool.submit(self._bring, self._index.chunks[number])
            self._fetched[number] = future
        return future

    def _is_stale(self, number: int, future: Future[Chunk]) -> bool:
        """Tell whether a chunk could not be brought here some time ago."""
        if future.cancelled():
            return True
        if not future.done() or future.exception() is None:
            self._failed.pop(number, None)
            return False
        failed_at = self._failed.setdefault(number, time.monotonic())
        if time.monotonic() - failed_at < _RETRY_SECONDS:
            return False
        del self._failed[number]
        return True

    def _forget_oldest(self) -> None:
        chunks = self._index.chunks
        num_bytes = sum(chunks[number].num_bytes for number in self._fetched)
        for number in list(self._fetched):
            is_much = num_bytes > _BYTES_KEPT or len(self._fetched) > _CHUNKS_KEPT
            if not is_much or len(self._fetched) <= _LEAST_KEPT:
                break
            if self._fetched[number].done():  # somebody may wait for the others
                del self._fetched[number]
                num_bytes -= chunks[number].num_bytes

    def _open_direct(self, number: int) -> Chunk | None:
        """Open a chunk where it is; None if that is not worth it."""
        info = self._index.chunks[number]
        if info.is_compressed_file:
            return None
        data = self._ranges(info)
        is_remote = isinstance(data, ObjectRanges)
        if is_remote and has_rows(data) and num_batches(data) > _MAX_REMOTE_BATCHES:
            return None
        chunk = self._parse(data, info)
        with self._lock:
            self._direct[number] = chunk
            while len(self._direct) > _CHUNKS_OPEN:
                self._direct.popitem(last=False)
        return chunk

    def _bring(self, info: ChunkInfo) -> Chunk:
        """Download and unpack a chunk; runs on a thread of its own."""
        data: ByteRanges
        if isinstance(self._location, ObjectStore):
            data = self._file_of(self._location.stream(info.name))
        else:
            data = FileRanges.open(self._location / info.name)
        if info.is_compressed_file:
            if info.num_bytes > _MAX_UNPACKED_BYTES:
                raise SampleReadError(f"a chunk of {info.num_bytes} bytes: no chunk is so large")
            packed = RangeReader(data, 0, data.size)
            data = self._file_of(unpack_blocks(packed, info.num_bytes))
        chunk = self._parse(data, info)
        if isinstance(chunk, FramedItems):
            return chunk.unpacked_items(self._file_of(chunk.unpacked_blocks()))
        return chunk

    def _ranges(self, info: ChunkInfo) -> ByteRanges:
        if isinstance(self._location, ObjectStore):
            return ObjectRanges(self._location, info.name, info.num_bytes)
        return FileRanges.open(self._location / info.name)

    def _parse(self, data: ByteRanges, info: ChunkInfo) -> Chunk:
        if data.size != info.num_bytes:
            raise SampleReadError(
                f"the chunk has {data.size} bytes, but the index says {info.num_bytes}: it is cut "
                "off or belongs to another version of the data set"
            )
        if has_rows(data):
            return ArrowRows(data, info.num_samples, self._batches)
        compressed = self._index.compresses_samples
        return open_items(data, info.num_samples, is_compressed=compressed)

    def _file_of(self, blocks: Iterable[bytes]) -> FileRanges:
        """Write blocks to a new file without a name."""
        self._download_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._download_dir) as file:
            for block in blocks:
                file.write(block)
            file.flush()
            return FileRanges(os.dup(file.fileno()))

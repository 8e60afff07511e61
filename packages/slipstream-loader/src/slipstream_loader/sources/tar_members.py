"""Members of a tar archive whose places are known, one at a time; read in blocks where it helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.block_reader import Block, BlockReader, blocks_by_place
from slipstream_loader.sources.forward_file import Compression, DecompressedReader, Restarts
from slipstream_loader.sources.stored_file import StoredFile

_BLOCK_BYTES: Final = 4 << 20
_REQUESTS_AHEAD: Final = 4


class MemberReader:
    """The data of members, by their numbers, from several threads.

    A plain local archive is read where the member lies; a plain remote one by requests for several
    neighbours; a compressed one forward.

    Parameters
    ----------
    file : StoredFile
        The archive.
    compression : {"none", "gzip", "bzip2", "xz"}
    starts, sizes : ndarray of int64, shape (N,)
        Where the members lie in the (decompressed) archive, ``starts`` ascending.
    """

    def __init__(
        self,
        file: StoredFile,
        compression: Compression,
        starts: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> None:
        self._file, self._starts, self._sizes = file, starts, sizes
        self._blocks: BlockReader[bytes] | None = None
        if compression == "none" and not file.is_remote:
            return
        firsts = blocks_by_place(starts, _BLOCK_BYTES)
        num_bytes = np.add.reduceat(sizes, firsts[:-1])
        if compression != "none":
            blocks = _CompressedBlocks(file, compression, starts, sizes, firsts)
            self._blocks = BlockReader(
                firsts, np.zeros(1, np.int64), blocks.open, num_bytes=num_bytes
            )
        else:
            plain = _PlainBlocks(file, starts, sizes, firsts)
            requests = np.arange(firsts.size - 1)
            self._blocks = BlockReader(
                firsts, requests, plain.open, ahead=_REQUESTS_AHEAD, num_bytes=num_bytes
            )

    def __getitem__(self, number: int) -> bytes:
        """The data of a member.

        Raises
        ------
        OSError
            It cannot be read.
        """
        if self._blocks is not None:
            return self._blocks[number]
        start = int(self._starts[number])
        return self._file.read(start, start + int(self._sizes[number]))


class _PlainBlocks:
    """Blocks of a remote archive that is not compressed: one request each."""

    def __init__(
        self,
        file: StoredFile,
        starts: NDArray[np.int64],
        sizes: NDArray[np.int64],
        firsts: NDArray[np.int64],
    ) -> None:
        self._file, self._starts, self._sizes, self._firsts = file, starts, sizes, firsts

    def open(self, number: int) -> Iterator[Block[bytes]]:
        """One block; see ``BlockReader``."""
        rows = slice(int(self._firsts[number]), int(self._firsts[number + 1]))
        starts = self._starts[rows]
        stops = starts + self._sizes[rows]
        begin, end = int(starts[0]), int(stops.max())
        data = self._file.read(begin, end)
        places = list(zip(starts.tolist(), stops.tolist(), strict=True))
        # hard links to one member share its bytes
        pieces = {(start, stop): data[start - begin : stop - begin] for start, stop in places}
        samples = [pieces[place] for place in places]
        yield Block(number, samples, sum(map(len, samples)))


class _CompressedBlocks:
    """Blocks of a compressed archive, read forward from the beginning or a place passed before."""

    def __init__(
        self,
        file: StoredFile,
        compression: Compression,
        starts: NDArray[np.int64],
        sizes: NDArray[np.int64],
        firsts: NDArray[np.int64],
    ) -> None:
        self._file, self._compression = file, compression
        self._starts, self._sizes, self._firsts = starts, sizes, firsts
        self._restarts = Restarts()

    def open(self, number: int) -> Iterator[Block[bytes]]:
        """The blocks from a number on; see ``BlockReader``."""
        known = self._restarts.before(number)
        reader = known[1] if known else DecompressedReader(self._file, self._compression)
        try:
            for block in range(number, self._firsts.size - 1):
                reader.skip(int(self._starts[self._firsts[block]]) - reader.position)
                self._restarts.keep(block, reader)
                yield self._block(block, reader)  # and hold nothing of it
        finally:
            reader.close()

    def _block(self, number: int, reader: DecompressedReader) -> Block[bytes]:
        samples = list(self._samples(number, reader))
        return Block(number, samples, sum(map(len, samples)))

    def _samples(self, number: int, reader: DecompressedReader) -> Iterator[bytes]:
        previous = -1, b""
        for row in range(int(self._firsts[number]), int(self._firsts[number + 1])):
            start, size = int(self._starts[row]), int(self._sizes[row])
            if start != previous[0]:  # else a hard link to the same data
                reader.skip(start - reader.position)
                data = reader.read(size)
                if len(data) != size:
                    raise SampleReadError(f"{self._file.uri} ends early: it was changed")
                previous = start, data
            yield previous[1]

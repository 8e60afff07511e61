"""Lines of a text file, such as a log."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples
from sqrtspace_streams.sources.positioned import PositionedFile

_STRIDE = 256  # lines from one remembered offset to the next
_PIECE = 1 << 20
_PIECE_STRIDES = 16  # that are read at once
_NEWLINE = ord("\n")


class LineSource(FiniteSource):
    """Lines of a text file without their ends, as bytes; read piece by piece.

    One pass over the file finds how many lines there are and how long the longest one is: that is
    the width of a sample (dtype ``S``, so zero bytes at the end of a line are lost).

    Parameters
    ----------
    path : path
    longest : int
        Bytes of a line, at most.

    Raises
    ------
    SourceError
        If a line is longer.
    """

    def __init__(self, path: str | Path, *, longest: int = 1 << 16) -> None:
        self.path = Path(path)
        self._offsets, self.length, width = self._index(longest)
        self._file = PositionedFile(path)
        self.dtype = np.dtype(f"S{max(width, 1)}")

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        self.check_range(start, stop)
        samples = np.empty(stop - start, self.dtype)
        step = _STRIDE * _PIECE_STRIDES
        for first in range(start - start % _STRIDE, stop, step):
            lo, hi = max(start, first), min(stop, first + step)
            samples[lo - start : hi - start] = self._lines(first, hi)[lo - first : hi - first]
        return samples

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self, first: int, stop: int) -> list[bytes]:
        """Lines from ``first``, whose offset is known, at least as far as ``stop``."""
        last = min(-(-stop // _STRIDE), len(self._offsets) - 1)
        begin, end = int(self._offsets[first // _STRIDE]), int(self._offsets[last])
        text = bytearray(end - begin)
        filled = self._file.read_into(begin, memoryview(text))
        lines = bytes(text[:filled]).split(b"\n")
        if filled < len(text) or len(lines) < stop - first:
            raise SourceError(
                f"{self.path} ended at byte {begin + filled} or has other lines there now; it had "
                f"{self.length} lines when it was opened"
            )
        return [line.removesuffix(b"\r") for line in lines]

    def _index(self, longest: int) -> tuple[Samples, int, int]:
        """Offsets of every `_STRIDE`-th line and of the end; lines; bytes of the longest."""
        offsets, count, width, position, line_start = [0], 0, 0, 0, 0
        with open(self.path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == _NEWLINE) + position
                position += len(piece)
                if len(ends):
                    starts = np.concatenate([[line_start], ends + 1])
                    width = max(width, int((ends - starts[:-1]).max()))
                    # ends[i] + 1 is where line count + i + 1 starts
                    due = range(-(count + 1) % _STRIDE, len(ends), _STRIDE)
                    offsets += [int(ends[i]) + 1 for i in due]
                    count, line_start = count + len(ends), int(starts[-1])
                most = max(width, position - line_start)
                if most > longest:
                    raise SourceError(
                        f"{self.path}: a line before line {count + 2} has {most} bytes or more; "
                        f"up to {longest} are read: if it is a text file, give a larger longest="
                    )
        if position > line_start:  # a last line without end
            width, count = max(width, position - line_start), count + 1
        if offsets[-1] != position:
            offsets.append(position)
        return np.array(offsets, np.int64), count, width

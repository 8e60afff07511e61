"""How a pure stage is called: on which blocks, with which neighbours, and what it must return.

Floating-point libraries may give a row other last bits when it stands elsewhere in a block or
when the block has another size. So a stage that is not declared batch invariant is always called
with ``block_rows`` rows, of which row ``t % block_rows`` is window t. Which windows come in one
tile, and on which thread, then leaves no trace in the results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array, Range, Rows, has_same_bits, padded
from sqrtspace_streams._stage import Stage
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.errors import ImpureStageError, RowCouplingError, StageError


class StageCall:
    """One stage with its arguments, for one evaluation.

    Parameters
    ----------
    stage : Stage
    arguments : dict
        Keyword arguments of every call.
    block_rows : int
        Rows of a canonical block.
    seed : int
        Of the generators that the stage may ask for.
    backend : NumpyBackend
        What the stage is given.
    """

    def __init__(
        self,
        stage: Stage,
        arguments: dict[str, Any],
        block_rows: int,
        seed: int,
        backend: NumpyBackend,
    ) -> None:
        self.stage, self.arguments = stage, arguments
        self._backend = NumpyBackend() if stage.takes_arrays else backend
        self._block_rows, self._seed = block_rows, seed
        self._wants_rng = stage.wants_rng
        stays_array = stage.vectorized and self._backend.leaves_blocks
        self._converts = type(self._backend) is not NumpyBackend and not stays_array
        self._takes_tiles = stage.vectorized and stage.batch_invariant
        self._takes_them_alone = self._takes_tiles and stage.context == (0, 0)

    def rows(self, inputs: Sequence[Rows], lo: int, hi: int, limit: int) -> Array:
        """The output for windows ``[lo, hi)``, in C order.

        Parameters
        ----------
        inputs : sequence of Rows
            With the neighbours that the stage's context asks for, as far as they are in
            ``[0, limit)``.
        limit : int
            Windows in the stream, or so far.

        Raises
        ------
        StageError
            If the stage raises, or returns something else than one row per window.
        """
        if self._takes_them_alone:
            return np.ascontiguousarray(self._call([x.part(lo, hi) for x in inputs], lo, hi))
        if self._takes_tiles:
            arrays = self._arrays(inputs, (lo, hi), (lo, hi), limit)
            return np.ascontiguousarray(self._call(arrays, lo, hi))
        if not self.stage.vectorized:
            return self._one_by_one(inputs, lo, hi, limit)
        return self._block_by_block(inputs, lo, hi, limit)

    def _block_by_block(self, inputs: Sequence[Rows], lo: int, hi: int, limit: int) -> Array:
        size = self._block_rows
        result: Array | None = None
        for start in range(lo - lo % size, hi, size):
            part = (max(lo, start), min(hi, start + size))
            arrays = self._arrays(inputs, (start, start + size), part, limit)
            arrays = [_contiguous(array) for array in arrays]
            block = self._call(arrays, start, start + size)
            if result is None and part == (lo, hi):
                return np.ascontiguousarray(block[lo - start : hi - start])
            if result is None:
                result = np.empty((hi - lo, *block.shape[1:]), block.dtype)
            self._check_like(result, block, part)
            result[part[0] - lo : part[1] - lo] = block[part[0] - start : part[1] - start]
        assert result is not None
        return result

    def _one_by_one(self, inputs: Sequence[Rows], lo: int, hi: int, limit: int) -> Array:
        result: Array | None = None
        for t in range(lo, hi):
            arrays = self._arrays(inputs, (t, t + 1), (t, t + 1), limit)
            if self.stage.context == (0, 0):
                arrays = [array[0] for array in arrays]
            row = self._invoke(arrays, t, t + 1)[None]
            if result is None:
                result = np.empty((hi - lo, *row.shape[1:]), row.dtype)
            self._check_like(result, row, (t, t + 1))
            result[t - lo] = row[0]
        assert result is not None
        return result

    def _arrays(
        self, inputs: Sequence[Rows], wanted: Range, usable: Range, limit: int
    ) -> list[Array]:
        """A block of each input, with context; read-only."""
        left, right = self.stage.context
        lo, hi = wanted[0] - left, wanted[1] + right
        reach = (usable[0] - left, usable[1] + right)
        return [padded(rows, (lo, hi), reach, limit, self.stage.pad) for rows in inputs]

    def _call(self, arrays: Sequence[Array], lo: int, hi: int) -> Array:
        """Call with a block and check what comes back."""
        output = self._invoke(arrays, lo, hi)
        if output.ndim < 1 or len(output) != hi - lo:
            problem = f"returned shape {output.shape}: expected {hi - lo} rows, one per window"
            raise StageError(self.stage.name, lo, hi, problem)
        return output

    def _invoke(self, arrays: Sequence[Array], lo: int, hi: int) -> Array:
        """Call the function; what it returns is an array, of any shape."""
        arguments = self.arguments
        if self._wants_rng:
            arguments = arguments | {"rng": window_rng(self._seed, self.stage.name, lo)}
        try:
            given = map(self._backend.give, arrays) if self._converts else arrays
            output = self.stage.function(*given, **arguments)
        except (MemoryError, StageError):
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise StageError(self.stage.name, lo, hi, problem) from error
        try:
            return self._backend.take(output)
        except TypeError as error:
            raise StageError(self.stage.name, lo, hi, str(error)) from None

    def _check_like(self, result: Array, block: Array, part: Range) -> None:
        if block.shape[1:] != result.shape[1:] or block.dtype != result.dtype:
            found = f"rows of {block.dtype} {block.shape[1:]}"
            before = f"{result.dtype} {result.shape[1:]}"
            raise StageError(self.stage.name, *part, f"returned {found}, before that {before}")

    def try_purity(self, rows: Rows, inputs: Sequence[Rows]) -> bool:
        """Ask again for the last rows of a block alone and compare.

        Parameters
        ----------
        rows : Rows
            What the stage gave.
        inputs : sequence of Rows

        Returns
        -------
        bool
            Whether there were enough windows to tell.

        Raises
        ------
        RowCouplingError
            If a row depends on the other rows or on where it stands.
        ImpureStageError
            If the same call gives another answer.
        """
        stage = self.stage
        if not stage.check or not stage.vectorized or stage.context != (0, 0) or stage.wants_rng:
            return True
        lo, hi = self._one_call(rows)
        if hi - lo < (3 if stage.batch_invariant else min(self._block_rows, 3)):
            return False  # a block of copies of one window, or the very call again
        first, output = max(hi - 2, min(lo + 1, hi - 1)), rows.part(lo, hi)
        again = self._call([x.part(first, hi) for x in inputs], first, hi)
        if _agree(output[first - lo :], again, exactly=stage.batch_invariant):
            return True
        whole = [x.part(lo, hi) for x in inputs]
        if not _agree(self._call(whole, lo, hi), self._call(whole, lo, hi), exactly=True):
            raise ImpureStageError(
                stage.name, lo, hi, "two calls with the same windows gave different results"
            )
        if stage.batch_invariant and _agree(output[first - lo :], again, exactly=False):
            problem = "is declared batch_invariant, yet the last bits depend on the block's size"
        else:
            problem = (
                "the result for a window depends on the other windows of the call; combine "
                "windows in a Kernel or with context=, or pass check=False if this is wanted"
            )
        raise RowCouplingError(stage.name, lo, hi, problem)

    def _one_call(self, rows: Rows) -> Range:
        """Windows that came from one call, up to a block of them."""
        size = self._block_rows
        if self.stage.batch_invariant:
            return rows.lo, min(rows.hi, rows.lo + max(size, 3))
        cut = min(rows.lo - rows.lo % size + size, rows.hi)
        parts = (rows.lo, cut), (cut, min(rows.hi, cut + size))
        return max(parts, key=lambda part: part[1] - part[0])


def window_rng(seed: int, stage: str, t: int) -> np.random.Generator:
    """The generator of one window of one stage; the same whenever the window is computed."""
    name = hashlib.blake2b(stage.encode(), digest_size=8).digest()
    key = np.array([seed & (2**64 - 1), int.from_bytes(name, "little")], np.uint64)
    counter = np.array([0, 0, 0, t], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _contiguous(array: Array) -> Array:
    """The array in C order, read-only."""
    if array.flags.c_contiguous:
        return array
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _agree(a: Array, b: Array, *, exactly: bool) -> bool:
    """Whether two outputs are equal, to rounding where that is allowed."""
    if exactly or a.dtype.kind not in "fc" or a.dtype != b.dtype or a.shape != b.shape:
        return has_same_bits(a, b)
    tolerance = float(np.sqrt(np.finfo(a.dtype).eps))
    finite = np.abs(a[np.isfinite(a)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True))

"""Evaluate into a file, and go on where a killed process stopped."""

from __future__ import annotations

import io
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sqrtspace_streams._forward import Snapshot
from sqrtspace_streams._kernel_run import Start
from sqrtspace_streams._rows import Array, Range, Rows
from sqrtspace_streams.errors import DamagedResumeError, ResumeError
from sqrtspace_streams.pipeline import SqrtSpacePipeline
from sqrtspace_streams.resume.fingerprint import differences, fingerprint
from sqrtspace_streams.resume.journal import Journal, sync_directory

_ROWS = "rows.npy"
_COMMIT_SHARE = 0.0025  # of the time, at most
_CHUNK_BYTES = 4 << 20  # of rows that are read at once to check them


def evaluate_resumable(
    pipe: SqrtSpacePipeline,
    target: str,
    directory: str | Path,
    t_range: Range | None = None,
    params: dict[str, Any] | None = None,
    *,
    every: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Rows of a stage in ``directory/rows.npy``; the same call again goes on where it ended.

    From time to time the rows so far are brought to the disk, and then the states of the kernels.
    Whenever the process is killed, the next one loses the windows since, and ends with the same
    bytes. A run that is over is not done again. Where states are written, a run takes at most
    a quarter of a percent of its time for it.

    Parameters
    ----------
    pipe : SqrtSpacePipeline
        Bound to a source that can be read again and has an end.
    target, t_range, params
        As of `SqrtSpacePipeline.evaluate`.
    directory : path
        Empty, or that of the run; on a local disk.
    every : int, optional
        Windows between two commits; as many as take a commit's share of the time, by default.
    progress : callable, optional
        Called with windows done and in all, after each tile or so.

    Returns
    -------
    numpy.memmap, shape (t1 - t0, ...)
        Read-only.

    Raises
    ------
    ResumeError
        If the directory holds something else, or the graph, the parameters, the source or a
        library is not that of the run; the message says which. Nothing is changed.
    DamagedResumeError
        If files were altered or cut off.
    TypeError
        If the rows are Python objects.
    """
    journal = Journal(directory)
    with journal.locked():
        run = _Run(pipe, target, journal, t_range, params, every)
        run.finish(progress)
        rows: Array = np.load(journal.directory / _ROWS, mmap_mode="r")
        return rows


class _Run:
    """A run whose directory is locked."""

    def __init__(
        self,
        pipe: SqrtSpacePipeline,
        target: str,
        journal: Journal,
        t_range: Range | None,
        params: dict[str, Any] | None,
        every: int | None,
    ) -> None:
        question, (self.t0, t1) = pipe._question(target, params), pipe._range(t_range)
        if t1 is None:
            raise ValueError("the length of this source is not known: give a t_range")
        self.t1 = t1
        self._journal, self._every = journal, every
        self._fingerprint = fingerprint(
            question.compiled, question.arguments, pipe.source, pipe.settings
        )
        self._fingerprint |= {"target": target, "windows": f"[{self.t0}, {self.t1})"}
        self._forward = question.forward_run()
        self._path = journal.directory / _ROWS
        self._header, self._row_bytes, self._checksum = b"", 0, 0
        if not self._resume():
            self._forward.restore(self.t0, {})
            plan = question.measured_plan(self.t0, self.t1, keeps_result=False)
            self._forward.tile, self._forward.workers = plan.tile, plan.workers

    def finish(self, progress: Callable[[int, int], None] | None) -> None:
        """Compute what is missing."""
        forward = self._forward
        if self.t0 == self.t1:
            raise ValueError(f"windows [{self.t0}, {self.t1}) are none: nothing to evaluate")
        chunk = self._every or 16 * forward.tile * forward.workers
        descriptor, due = -1, 0.0
        try:
            while forward.position < self.t1:
                first = forward.position
                rows = np.ascontiguousarray(forward.rows(min(first + chunk, self.t1)))
                if rows.dtype.hasobject:
                    raise TypeError(
                        f"rows of {self._fingerprint['target']!r} are Python objects: no file can "
                        "hold them so that they come back; make them arrays of numbers or of text"
                    )
                if descriptor < 0:
                    descriptor = self._open(rows)
                data = rows.reshape(-1).view(np.uint8).data if rows.size else b""
                _write_at(descriptor, data, self._place(first))
                self._checksum = zlib.crc32(data, self._checksum)
                if self._every or time.monotonic() >= due or forward.position == self.t1:
                    began = time.monotonic()
                    os.fsync(descriptor)
                    self._commit()
                    now = time.monotonic()
                    due = now + (now - began) / _COMMIT_SHARE
                if progress is not None:
                    progress(forward.position - self.t0, self.t1 - self.t0)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _resume(self) -> bool:
        """Take up what the directory has; False where it has nothing."""
        state = self._journal.load()
        if state is None:
            return False
        if changed := differences(state["fingerprint"], self._fingerprint):
            raise ResumeError(
                f"{self._journal.directory} holds another run; not the same: {', '.join(changed)}. "
                "Give another directory, or what the run was begun with"
            )
        self._header, self._row_bytes = state["header"], state["row_bytes"]
        self._checksum = state["checksum"]
        self._forward.tile, self._forward.workers = state["tile"], state["workers"]
        self._check_rows(state["position"])
        self._forward.restore(state["position"], _snapshot(state["kernels"]))
        return True

    def _commit(self) -> None:
        forward = self._forward
        self._journal.commit(
            {
                "fingerprint": self._fingerprint,
                "position": forward.position,
                "kernels": _plain(forward.snapshot()),
                "checksum": self._checksum,
                "header": self._header,
                "row_bytes": self._row_bytes,
                "tile": forward.tile,
                "workers": forward.workers,
            }
        )

    def _place(self, t: int) -> int:
        """Where the rows of a window begin in the file."""
        return len(self._header) + (t - self.t0) * self._row_bytes

    def _open(self, rows: Array) -> int:
        """The file of the rows, made where no run has begun it."""
        if not self._header:
            shape = (self.t1 - self.t0, *rows.shape[1:])
            header = io.BytesIO()
            descr = np.lib.format.dtype_to_descr(rows.dtype)
            np.lib.format.write_array_header_2_0(
                header, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            self._header, self._row_bytes = header.getvalue(), rows.nbytes // len(rows)
            with open(self._path, "wb") as file:
                file.write(self._header)
                file.truncate(self._place(self.t1))
            sync_directory(self._path.parent)
        return os.open(self._path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def _check_rows(self, position: int) -> None:
        """Read all rows that were committed, and compare their checksum."""
        size = self._place(self.t1)
        found = self._path.stat().st_size if self._path.exists() else 0
        if found != size:
            raise DamagedResumeError(f"{self._path} has {found} bytes: expected {size}. {_ADVICE}")
        with open(self._path, "rb") as file:
            is_sound = file.read(len(self._header)) == self._header
            checksum, left = 0, (position - self.t0) * self._row_bytes
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                checksum, left = zlib.crc32(data, checksum), left - len(data)
        if not is_sound or checksum != self._checksum:
            raise DamagedResumeError(
                f"{self._path}: rows of windows [{self.t0}, {position}) were altered. {_ADVICE}"
            )


_ADVICE = "Delete the directory to begin anew, or restore it from a copy"


def _write_at(descriptor: int, data: memoryview | bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    """States as the codec takes them."""
    return {
        name: [
            {
                "t": start.t,
                "state": start.state,
                "rows": None if start.rows is None else [start.rows.lo, start.rows.array],
            }
            for start in starts
        ]
        for name, starts in snapshot.items()
    }


def _snapshot(kernels: dict[str, Any]) -> Snapshot:
    return {
        name: [
            Start(s["t"], s["state"], None if s["rows"] is None else Rows(*s["rows"]))
            for s in starts
        ]
        for name, starts in kernels.items()
    }

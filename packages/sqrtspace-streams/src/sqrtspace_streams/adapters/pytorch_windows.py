"""Rows of a stage for a PyTorch ``DataLoader``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array, Range
from sqrtspace_streams.errors import BackendUnavailableError
from sqrtspace_streams.pipeline import SqrtSpacePipeline

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise BackendUnavailableError(
        "a DataLoader needs PyTorch: pip install 'sqrtspace-streams[pytorch]'"
    ) from error


class WindowDataset(IterableDataset[torch.Tensor]):
    """The rows of a stage, one item per window, in order; memory does not grow with the range.

    Workers of a ``DataLoader`` take one contiguous part of the range each; those behind the first
    begin with a seek, so the kernels of a target step over the windows before. Every pass begins
    with the first window, but for the one after ``load_state_dict``. The position is part of
    ``state_dict``, so that a ``torchdata`` ``StatefulDataLoader`` resumes with a seek.

    Parameters
    ----------
    pipe : SqrtSpacePipeline or callable
        A function that makes one is called once in each process; workers that are spawned need
        that.
    target : str
    t_range : (int, int), optional
        Half-open range of windows; all of them by default.
    params : dict, optional
        As of `SqrtSpacePipeline.evaluate`.
    """

    def __init__(
        self,
        pipe: SqrtSpacePipeline | Callable[[], SqrtSpacePipeline],
        target: str,
        t_range: Range | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        self.target, self.params = target, params
        self.t_range = None if t_range is None else (t_range[0], t_range[1])
        self._pipe = pipe
        self._begin_at: int | None = None  # where the next pass begins, if not at the first window
        self._next: int | None = None  # where the last pass stands, unless it is over

    def __iter__(self) -> Iterator[torch.Tensor]:
        if not isinstance(self._pipe, SqrtSpacePipeline):
            self._pipe = self._pipe()
        t0, t1 = self._share(self._pipe)
        start = t0 if self._begin_at is None else self._begin_at
        self._begin_at, self._next = None, start
        return self._rows(self._pipe, (start, t1))

    def _rows(self, pipe: SqrtSpacePipeline, t_range: Range) -> Iterator[torch.Tensor]:
        for first, rows in pipe.blocks(self.target, t_range, self.params):
            for t, row in enumerate(rows, first + 1):
                self._next = t
                yield torch.from_numpy(np.array(row))
        self._next = None

    def _share(self, pipe: SqrtSpacePipeline) -> Range:
        """The windows of this worker."""
        t0, t1 = self.t_range or (0, pipe.num_windows())
        worker = get_worker_info()
        if worker is None:
            return t0, t1
        cuts = [t0 + (t1 - t0) * i // worker.num_workers for i in (worker.id, worker.id + 1)]
        return cuts[0], cuts[1]

    def state_dict(self) -> dict[str, Any]:
        """Where this pass stands, and over what."""
        return {"next": self._next, "target": self.target, "t_range": self.t_range}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass begin where that one stood.

        Raises
        ------
        ValueError
            If the state is that of another target or range.
        """
        t_range = None if state["t_range"] is None else tuple(state["t_range"])
        if (state["target"], t_range) != (self.target, self.t_range):
            raise ValueError(
                f"this state is of {state['target']!r} {t_range}, the data set of "
                f"{self.target!r} {self.t_range}"
            )
        self._begin_at = self._next = state["next"]


def window_loader(
    pipe: SqrtSpacePipeline, target: str, *, batch_size: int, params: dict[str, Any] | None = None
) -> DataLoader[torch.Tensor]:
    """A loader of `WindowDataset` in this process."""
    return DataLoader(WindowDataset(pipe, target, params=params), batch_size=batch_size)


def array_loader(rows: Array, *, batch_size: int) -> DataLoader[torch.Tensor]:
    """A loader of rows that are all there, in order."""
    return DataLoader(_ArrayDataset(rows), batch_size=batch_size)


class _ArrayDataset(Dataset[torch.Tensor]):
    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self._rows[index]))

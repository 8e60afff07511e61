"""What happens to a batch when some of its images cannot be decoded.

Which sample replaces another depends on seed, epoch and sample id only, so a run with bad images
is as repeatable as one without. Failures other than of decoding always raise.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_cache import Condition, SampleReader
from slipstream_decoders import (
    BatchContext,
    CorruptImageError,
    UnsupportedImageError,
    stream_key,
    uniforms,
)
from slipstream_loader.batches import Batch, BatchMaker
from slipstream_loader.telemetry import Telemetry

OnError = Literal["raise", "skip", "replace", "zero"]

VALID = "_valid"
"""Name of the mask, bool of shape (B,), of samples that are what the order says; with ``zero`` and
``replace``."""

_MAX_REPLACEMENTS = 64

_DecodeErrors = (CorruptImageError, UnsupportedImageError)


class FailurePolicy:
    """Makes batches, and does what was asked for about images that cannot be decoded.

    Parameters
    ----------
    on_error : {"raise", "skip", "replace", "zero"}
    maker : BatchMaker
    cache : SampleReader
    candidates : ndarray of int64 or None
        The ids that may replace others; None: all.
    telemetry : Telemetry
        Told of every failure.
    """

    def __init__(
        self,
        on_error: OnError,
        maker: BatchMaker,
        cache: SampleReader,
        candidates: NDArray[np.int64] | None,
        telemetry: Telemetry,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be one of {get_args(OnError)}, got {on_error!r}")
        self._on_error, self._maker, self._candidates = on_error, maker, candidates
        self._num_stored = len(cache)
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._bad: dict[int, str] = {}
        self._reported: set[int] = set()
        if on_error in ("skip", "replace"):
            for name in maker.decoded_fields:
                unreadable = np.flatnonzero(cache.conditions(name) == Condition.UNREADABLE)
                reason = f"field {name!r}: unreadable when the cache was built"
                self._bad.update(dict.fromkeys(unreadable.tolist(), reason))

    def make(self, context: BatchContext) -> Batch | None:
        """One batch; None if nothing is left of it.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With ``on_error="raise"``, or if no sample can replace a bad one.
        """
        if self._on_error == "raise":
            return self._maker.make(context)
        if self._on_error == "zero":
            return self._with_zeros(context)
        while True:
            attempt = (
                self._replaced(context) if self._on_error == "replace" else self._kept(context)
            )
            if attempt.sample_ids.size == 0:
                return None
            try:
                batch = self._maker.make(attempt)
            except _DecodeErrors as error:
                if not set(attempt.sample_ids.tolist()).intersection(error.sample_ids):
                    raise  # not of these samples: trying again without them would not end
                self._note(error.sample_ids, str(error))
                continue
            if self._on_error == "replace":
                batch[VALID] = torch.from_numpy(attempt.sample_ids == context.sample_ids)
            return batch

    def _with_zeros(self, context: BatchContext) -> Batch:
        failures: dict[int, str] = {}
        batch = self._maker.make(replace(context, failures=failures))
        valid = np.ones(context.sample_ids.size, bool)
        valid[list(failures)] = False
        batch[VALID] = torch.from_numpy(valid)
        for row, reason in failures.items():
            sample_id = int(context.sample_ids[row])
            self._note([sample_id], reason)
            self._report([sample_id])
        return batch

    def _note(self, sample_ids: list[int], reason: str) -> None:
        with self._lock:
            self._bad.update(dict.fromkeys(sample_ids, reason))

    def _report(self, sample_ids: list[int]) -> None:
        """Tell the telemetry of bad samples that have come up, each once."""
        with self._lock:
            new = [sample_id for sample_id in sample_ids if sample_id not in self._reported]
            self._reported.update(new)
            reasons = {sample_id: self._bad[sample_id] for sample_id in new}
        self._telemetry.failed(reasons)

    def _is_bad(self, sample_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        with self._lock:
            return np.isin(sample_ids, np.array(list(self._bad), np.int64))

    def _kept(self, context: BatchContext) -> BatchContext:
        bad = self._is_bad(context.sample_ids)
        self._report(context.sample_ids[bad].tolist())
        return context.rows(~bad) if bad.any() else context

    def _replaced(self, context: BatchContext) -> BatchContext:
        """The context with every bad id replaced by one that is not known to be bad."""
        ids = context.sample_ids.copy()
        bad = self._is_bad(ids)
        if not bad.any():
            return context
        self._report(ids[bad].tolist())
        key = stream_key(context.seed, context.epoch, "replacement")
        rows = np.flatnonzero(bad)
        draws = uniforms(
            key, context.sample_ids[rows], context.sample_occurrences[rows], _MAX_REPLACEMENTS
        )
        pool = self._candidates
        size = self._num_stored if pool is None else pool.size
        places = (draws * size).astype(np.int64)
        options = places if pool is None else pool[places]
        usable = ~self._is_bad(options)
        if not usable.any(axis=1).all():
            lost = ids[rows[~usable.any(axis=1)]].tolist()
            raise CorruptImageError(
                f"no sample could replace {lost}: {_MAX_REPLACEMENTS} draws gave only samples that "
                "cannot be decoded either",
                lost,
            )
        ids[rows] = options[np.arange(rows.size), usable.argmax(axis=1)]
        return replace(context, sample_ids=ids)

"""``Draws``: the random numbers of one stage and one batch, sample by sample.

Every number is a function of (seed, epoch, view, stage) and of (sample id, occurrence, number of
the draw): see ``slipstream_decoders.rng``. The methods below turn them into distributions; a
transform calls them in a fixed order, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext, uniforms

_FIRST = 16  # numbers a sample that are made at once
_TRIES = 64  # each try of the gamma law fails with less than 5 % probability


class Draws:
    """Random numbers for the samples of a batch, each method's result of shape (B, ...).

    Parameters
    ----------
    context : BatchContext
        Of the stage.
    seed : int, optional
        Replaces the loader's.
    """

    def __init__(self, context: BatchContext, seed: int | None = None) -> None:
        self._key = context.key(seed)
        self._ids = context.sample_ids
        self._occurrences = context.sample_occurrences
        self._numbers = np.empty((len(self._ids), 0))
        self._used = 0

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self._ids)

    def numbers(self, count: int) -> NDArray[np.float64]:
        """The next ``count`` uniform numbers in [0, 1) of each sample, float64, (B, count)."""
        begin, self._used = self._used, self._used + count
        if self._used > self._numbers.shape[1]:
            made = max(_FIRST, 2 * self._used)
            self._numbers = uniforms(self._key, self._ids, self._occurrences, made)
        return self._numbers[:, begin : self._used]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Uniform in [low, high), float32, (B,)."""
        return _tensor(low + (high - low) * self.numbers(1)[:, 0])

    def log_uniform(self, low: float, high: float) -> torch.Tensor:
        """Uniform in the logarithm between two positive bounds, float32, (B,)."""
        return _tensor(np.exp(np.log(low) + np.log(high / low) * self.numbers(1)[:, 0]))

    def bernoulli(self, p: float) -> torch.Tensor:
        """True with probability ``p``, bool, (B,)."""
        return torch.from_numpy(self.numbers(1)[:, 0] < p)

    def integers(self, low: int, high: int) -> torch.Tensor:
        """Whole numbers in [low, high), int64, (B,)."""
        return torch.from_numpy(self._integers(low, high))

    def _integers(self, low: int, high: int) -> NDArray[np.int64]:
        steps = np.floor(self.numbers(1)[:, 0] * (high - low)).astype(np.int64)
        return low + np.minimum(steps, high - low - 1)

    def choice(self, values: Sequence[float]) -> torch.Tensor:
        """One of the values, float32, (B,)."""
        return _tensor(np.asarray(values, np.float64)[self._integers(0, len(values))])

    def words(self) -> torch.Tensor:
        """A random word for each sample, int64, (B,): the seed of its noise."""
        high, low = np.floor(self.numbers(2) * 2.0**32).astype(np.uint64).T
        return torch.from_numpy(((high << np.uint64(32)) | low).view(np.int64))

    def beta(self, a: float, b: float) -> torch.Tensor:
        """Beta distributed, float32, (B,)."""
        odds = self._log_gamma_variate(a) - self._log_gamma_variate(b)
        return _tensor(1 / (1 + np.exp(np.clip(-odds, -700, 700))))

    def _log_gamma_variate(self, shape: float) -> NDArray[np.float64]:
        """Logarithm of a gamma variate (Marsaglia and Tsang 2000), which cannot underflow.

        A sample's later tries are drawn, but not used: what it gets depends on itself alone.
        """
        boost = np.log1p(-self.numbers(1)[:, 0]) / shape if shape < 1 else 0.0
        d = (shape + 1 if shape < 1 else shape) - 1 / 3
        result = np.full(self.num_samples, np.log(d))
        waiting = np.ones(self.num_samples, bool)
        numbers = self.numbers(3 * _TRIES).reshape(-1, _TRIES, 3)
        for attempt in range(_TRIES):
            u = numbers[:, attempt]
            x = np.sqrt(-2 * np.log1p(-u[:, 0])) * np.cos(2 * np.pi * u[:, 1])
            v = np.maximum(1 + x / np.sqrt(9 * d), 0) ** 3
            with np.errstate(divide="ignore"):
                log_v = np.log(v)
                fits = np.log1p(-u[:, 2]) < 0.5 * x * x + d - d * v + d * log_v
            accepted = waiting & (v > 0) & fits
            result[accepted] = np.log(d) + log_v[accepted]
            waiting &= ~accepted
            if not waiting.any():
                break
        return np.asarray(result + boost)


def _tensor(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))

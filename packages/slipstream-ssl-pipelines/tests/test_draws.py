"""The laws that transforms draw from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.transforms import (
    Draws,
)

NUM = 20_000
SIGNIFICANCE = 1e-4


def _draws(view: str = "", ids: np.ndarray | None = None) -> Draws:
    ids = np.arange(NUM) if ids is None else ids
    return Draws(BatchContext(ids, seed=1, view=view, stage="stage"))


def _is_law(values: torch.Tensor, law: object) -> None:
    assert stats.kstest(values.double().numpy(), law.cdf).pvalue > SIGNIFICANCE  # type: ignore[attr-defined]


def test_continuous_laws() -> None:
    """Kolmogorov-Smirnov against the laws that scipy has."""
    draws = _draws()
    _is_law(draws.uniform(-2, 5), stats.uniform(-2, 7))
    _is_law(draws.log_uniform(0.3, 3.3), stats.loguniform(0.3, 3.3))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.8, 0.8), (0.2, 0.2), (3.0, 0.5), (20.0, 20.0)])
def test_beta_law(a: float, b: float) -> None:
    """Kolmogorov-Smirnov, at small parameters too, where most of the mass is at the ends."""
    values = _draws().beta(a, b)
    assert ((values >= 0) & (values <= 1)).all()
    inner = values[(values > 1e-6) & (values < 1 - 1e-6)].double().numpy()
    law = stats.beta(a, b)
    low, high = law.cdf([1e-6, 1 - 1e-6])
    assert stats.kstest(inner, lambda x: (law.cdf(x) - low) / (high - low)).pvalue > SIGNIFICANCE
    assert abs((values <= 1e-6).double().mean() - low) < 5 * np.sqrt(0.25 / NUM)


def test_tiny_beta_parameters_give_numbers() -> None:
    """No variate underflows into 0 / 0."""
    values = _draws().beta(0.01, 0.01)
    assert torch.isfinite(values).all()
    assert abs(values.mean() - 0.5) < 5 * np.sqrt(0.25 / NUM)


def test_discrete_laws() -> None:
    """Chi-square of whole numbers and choices; the frequency of true."""
    draws = _draws()
    counts = torch.bincount(draws.integers(3, 10) - 3, minlength=7)
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE
    values, counts = draws.choice([0.5, -1.0, 2.0]).unique(return_counts=True)
    assert values.tolist() == [-1.0, 0.5, 2.0]
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE
    assert abs(draws.bernoulli(0.2).double().mean() - 0.2) < 5 * np.sqrt(0.16 / NUM)
    assert draws.words().unique().numel() == NUM


def test_samples_and_views_are_independent() -> None:
    """No correlation between neighbours, consecutive draws, or the same draw of two views."""
    draws, other = _draws(), _draws("other")
    one, two, elsewhere = draws.uniform(), draws.uniform(), other.uniform()
    for pair in ((one, two), (one, elsewhere), (one[1:], one[:-1])):
        assert abs(np.corrcoef(*pair)[0, 1]) < 5 / np.sqrt(NUM)


def test_draws_belong_to_samples() -> None:
    """Every law gives a sample alone what it gives it among others."""

    def of(draws: Draws) -> list[torch.Tensor]:
        return [draws.beta(0.5, 0.5), draws.words(), draws.uniform()]

    some = np.array([7, 3, 12_345])
    for together, alone in zip(of(_draws()), of(_draws(ids=some)), strict=True):
        assert torch.equal(together[torch.from_numpy(some)], alone)

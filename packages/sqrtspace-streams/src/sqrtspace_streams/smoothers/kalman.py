"""Kalman filter and Rauch-Tung-Striebel smoother of a linear Gaussian model."""

# ruff: noqa: ARG002  kernels have the same parameters
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.pipeline import SqrtSpacePipeline


@dataclass(frozen=True)
class LinearGaussian:
    """A hidden state of d numbers, and measurements of m; taken as double precision.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """

    transition: ArrayLike
    """From the state at one window to that at the next, shape (d, d)."""
    process_noise: ArrayLike
    """Covariance of what is added on the way, shape (d, d)."""
    observation: ArrayLike
    """From the state to the measurement, shape (m, d)."""
    observation_noise: ArrayLike
    """Covariance of the error of a measurement, shape (m, m)."""
    mean: ArrayLike
    """Of the state at the first window, before its measurement, shape (d,)."""
    covariance: ArrayLike
    """Of the same, shape (d, d)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            matrix = np.array(getattr(self, field.name), np.float64)
            object.__setattr__(self, field.name, matrix)
        d, m = np.size(self.mean), len(np.atleast_1d(self.observation))
        expected = ((d, d), (d, d), (m, d), (m, m), (d,), (d, d))
        for field, shape in zip(fields(self), expected, strict=True):
            found = np.shape(getattr(self, field.name))
            if found != shape:
                raise ValueError(f"{field.name} has shape {found}: expected {shape}")


def kalman_smoother(
    pipe: SqrtSpacePipeline, name: str, model: LinearGaussian, inputs: list[str] | None = None
) -> None:
    """Register ``name``: mean and covariance of the state at each window, given all windows.

    A row has ``d + d * d`` numbers. The kernel ``name + "_filter"`` is registered as well; its rows
    are mean and covariance given the windows so far, then those predicted for the window. Source:
    Rauch, Tung and Striebel, AIAA Journal 3 (1965).

    Parameters
    ----------
    pipe : SqrtSpacePipeline
    name : str
    model : LinearGaussian
    inputs : list of str, optional
        One stage whose rows are the measurements, shape (m,); a window with a NaN has none.
    """
    pipe.kernel(f"{name}_filter", inputs)(_KalmanFilter(model))
    pipe.reverse_kernel(name, [f"{name}_filter"])(_Smoother(model))


class _KalmanFilter(Kernel):
    """State: what is predicted for the next window."""

    def __init__(self, model: LinearGaussian) -> None:
        self.f, self.q = np.asarray(model.transition), np.asarray(model.process_noise)
        self.h, self.r = np.asarray(model.observation), np.asarray(model.observation_noise)
        self.mean, self.covariance = np.asarray(model.mean), np.asarray(model.covariance)

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"mean": self.mean, "covariance": self.covariance}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (z,) = x_block
        predicted, spread = state["mean"], state["covariance"]
        mean, covariance = predicted, spread
        if not np.isnan(z).any():
            h = self.h
            s = h @ spread @ h.T + self.r
            gain = np.linalg.solve(s, h @ spread).T
            mean = predicted + gain @ (z - h @ predicted)
            covariance = spread - gain @ s @ gain.T
        row = np.concatenate([mean, covariance.ravel(), predicted, spread.ravel()])
        f = self.f
        after = {"mean": f @ mean, "covariance": f @ covariance @ f.T + self.q}
        return row[None], after


class _Smoother(Kernel):
    """State: the smoothed next window, and what had been predicted for it."""

    def __init__(self, model: LinearGaussian) -> None:
        self.f = np.asarray(model.transition)

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (row,) = x_block
        size = len(self.f)
        cuts = np.cumsum([size, size * size, size])
        mean, covariance, predicted, spread = np.split(row, cuts)
        covariance, spread = covariance.reshape(size, size), spread.reshape(size, size)
        if state:
            gain = np.linalg.solve(state["spread"], self.f @ covariance).T
            mean = mean + gain @ (state["mean"] - state["predicted"])
            covariance = covariance + gain @ (state["covariance"] - state["spread"]) @ gain.T
        after = {"mean": mean, "covariance": covariance, "predicted": predicted, "spread": spread}
        return np.concatenate([mean, covariance.ravel()])[None], after

"""Filtering forward and backward: no phase, and the squared magnitude of the filter."""

# ruff: noqa: ARG002  kernels have the same parameters
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.pipeline import SqrtSpacePipeline


def zero_phase(
    pipe: SqrtSpacePipeline,
    name: str,
    b: ArrayLike,
    a: ArrayLike,
    inputs: list[str] | None = None,
    *,
    padlen: int | None = None,
) -> None:
    """Register ``name``: the samples of each window, filtered as ``scipy.signal.filtfilt`` does.

    Together the rows are, to the bit, ``filtfilt(b, a, x, axis=0)`` of all samples in full windows:
    with its odd extension by ``padlen`` samples at both ends, and its initial states. The kernel
    ``name + "_forward"`` is registered as well. It needs SciPy.

    Parameters
    ----------
    pipe : SqrtSpacePipeline
        With ``hop == window``, so that each sample is in one window.
    name : str
    b, a : array_like, shape (n,)
        Numerator and denominator of the filter.
    inputs : list of str, optional
        One stage whose rows are the samples, shape (samples,) or (samples, channels); the input by
        default.
    padlen : int, optional
        Samples of the extension, fewer than a window has; ``3 * max(len(a), len(b))`` by default.

    Raises
    ------
    ImportError
        Without SciPy.
    ValueError
        If windows overlap or are not longer than the extension, or there is nothing to filter.
    """
    if pipe.settings.hop != pipe.settings.window:
        raise ValueError(
            f"window={pipe.settings.window}, hop={pipe.settings.hop}: a filter has to meet each "
            "sample once; give them the same value"
        )
    forward = _Forward(b, a, padlen)
    if inputs is None and forward.padlen >= pipe.settings.window:
        raise ValueError(
            f"padlen={forward.padlen}: expected fewer samples than a window has, "
            f"{pipe.settings.window}"
        )
    pipe.kernel(f"{name}_forward", inputs)(forward)
    pipe.reverse_kernel(name, [f"{name}_forward"])(_Backward(b, a, padlen))


class _Filter(Kernel):
    """What both directions share."""

    def __init__(self, b: ArrayLike, a: ArrayLike, padlen: int | None) -> None:
        try:
            from scipy import signal
        except ImportError as error:
            raise ImportError(
                "zero_phase needs SciPy: pip install 'sqrtspace-streams[signal]'"
            ) from error
        self._lfilter: Callable[..., tuple[Array, Array]] = signal.lfilter
        self.b, self.a = np.atleast_1d(b), np.atleast_1d(a)
        self.taps = max(len(self.b), len(self.a))
        if self.taps < 2:
            raise ValueError("b and a have one coefficient each: multiply instead")
        self.padlen = 3 * self.taps if padlen is None else padlen
        if self.padlen < 0:
            raise ValueError(f"padlen={padlen}: expected a count of samples")
        self._rest: Array = signal.lfilter_zi(self.b, self.a)

    def run(self, x: Array, state: Array) -> tuple[Array, Array]:
        """Filter samples along the first axis, from a state."""
        return self._lfilter(self.b, self.a, x, axis=0, zi=state)

    def at_rest(self, value: Array) -> Array:
        """The state after a long time of one value, shape (1, ...)."""
        return self._rest.reshape(-1, *[1] * (value.ndim - 1)) * value

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        """No sample was met."""
        return {"z": None}


class _Forward(_Filter):
    """Its rows: filtered samples, the state after them, the extension behind the window."""

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (x,) = x_block
        if len(x) <= self.padlen:
            raise ValueError(f"{len(x)} samples in a window: expected more than {self.padlen}")
        z = state["z"]
        if z is None:
            before = 2 * x[:1] - x[self.padlen : 0 : -1]
            first = before[:1] if self.padlen else x[:1]
            z = self.at_rest(first)
            if self.padlen:
                _, z = self.run(before, z)
        y, z = self.run(x, z)
        behind = 2 * x[-1:] - x[::-1][1 : self.padlen + 1]
        return np.concatenate([y, z, behind])[None], {"z": z}


class _Backward(_Filter):
    """Begins with the extension behind the last window."""

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (row,) = x_block
        size = len(row) - self.padlen - self.taps + 1
        y, z = row[:size], state["z"]
        if z is None:
            behind = row[len(row) - self.padlen :]
            last = y
            if self.padlen:
                last, _ = self.run(behind, row[size : size + self.taps - 1])
            z = self.at_rest(last[-1:])
            if self.padlen:
                _, z = self.run(last[::-1], z)
        filtered, z = self.run(y[::-1], z)
        return filtered[::-1][None], {"z": z}

"""The options of a pipeline: as the user writes them, and checked and completed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args, get_type_hints

import numpy as np
from numpy.typing import DTypeLike
from typing_extensions import TypedDict

Mode = Literal["auto", "classic", "sqrt"]
Ring = Literal["auto", "window", "thin", "all"]
Device = Literal["cpu", "cuda"]
BackendName = Literal["numpy", "cupy", "pandas", "polars", "arrow", "pytorch"]


class Config(TypedDict, total=False):
    """Options of `SqrtSpacePipeline`; what is left out has the default of `Settings`."""

    window: int
    hop: int
    dtype: DTypeLike
    checkpoint_every: int
    lru_bytes: int
    max_workers: int
    input_buffer_blocks: int
    device: Device
    backend: BackendName
    mode: Mode
    tile: int
    block_rows: int
    slots: int
    ring: Ring
    seed: int


_FLOAT32: np.dtype[Any] = np.dtype("float32")


@dataclass(frozen=True)
class Settings:
    """The options of a pipeline, checked.

    ``window``, ``hop``, ``dtype``, ``block_rows``, ``seed``, ``backend`` and ``device`` may change
    results; the others change time and memory only.
    """

    window: int = 4096
    """Samples in a window."""
    hop: int = 1024
    """Samples from the start of one window to the start of the next."""
    dtype: np.dtype[Any] = _FLOAT32
    """Type of a sample; without an explicit one, that of the source that is bound."""
    checkpoint_every: int = 16
    """Windows between two checkpoints."""
    lru_bytes: int = 64 << 20
    """Bytes of stage outputs that are kept for other targets and for repeated questions."""
    max_workers: int = 8
    """Threads, at most; a plan takes as many as there are processors, and cache for their tiles."""
    input_buffer_blocks: int = 64
    """Windows that the buffer of pushed samples holds."""
    device: Device = "cpu"
    """Where stages run."""
    backend: BackendName = "numpy"
    """What stages are given: NumPy or CuPy arrays, frames of pandas, polars or Arrow, or PyTorch
    tensors."""
    mode: Mode = "auto"
    """``"classic"``: stage by stage; ``"sqrt"``: tile by tile; ``"auto"``: what the plan says."""
    tile: int = 0
    """Windows in a tile; 0 leaves it to the plan."""
    block_rows: int = 16
    """Windows in a call of a stage that is not batch invariant; like ``window``, part of the
    meaning of a pipeline, since floating-point results may depend on it."""
    slots: int = 0
    """Checkpoints that are kept for a stage; 0 leaves it to the plan."""
    ring: Ring = "auto"
    """Which checkpoints are kept: see `sqrtspace_streams.cache.CheckpointRing`."""
    seed: int = 0
    """Seed of the random generators that stages ask for."""
    explicit: frozenset[str] = frozenset()
    """Names of the options that the user gave; a plan does not change those: it rounds
    ``tile`` up to whole blocks, and takes no more than ``max_workers`` threads."""

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Check options and fill in defaults.

        Raises
        ------
        TypeError
            For an unknown option or a value of another type.
        ValueError
            For a value out of range.
        """
        given = cast("dict[str, Any]", dict(config))
        known = set(get_type_hints(Config))
        if unknown := sorted(set(given) - known):
            raise TypeError(f"unknown options {unknown}; there are {sorted(known)}")
        values = {name: _checked(name, value) for name, value in given.items()}
        settings = cls(**values, explicit=frozenset(values))
        if settings.device == "cpu" and settings.backend == "cupy" and "device" in given:
            raise ValueError("backend='cupy' with device='cpu': CuPy runs on CUDA devices")
        if settings.device == "cuda" and settings.backend not in ("cupy", "pytorch"):
            raise ValueError(
                f"device='cuda' with backend={settings.backend!r}: use backend='cupy' or 'pytorch'"
            )
        return settings

    @property
    def capacity(self) -> int:
        """Samples in ``input_buffer_blocks`` windows, each with what comes before the next."""
        return max(self.window, self.hop) + (self.input_buffer_blocks - 1) * self.hop


_CHOICES = {"mode": Mode, "ring": Ring, "device": Device, "backend": BackendName}
_SMALLEST = {"lru_bytes": 0, "tile": 0, "slots": 0, "seed": 0}  # of the others: 1
_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _checked(name: str, value: Any) -> Any:
    """One option, in the type of its default."""
    if name == "dtype":
        return np.dtype(value)
    if name in _CHOICES:
        choices = get_args(_CHOICES[name])
        if value not in choices:
            raise ValueError(f"{name}={value!r}: expected one of {list(choices)}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        hint = "; it changes results, so no plan chooses it" if name in ("window", "hop") else ""
        problem = TypeError if not isinstance(value, str) else ValueError
        raise problem(f"{name}={value!r}: expected an integer{hint}")
    smallest = _SMALLEST.get(name, 1)
    if value < smallest:
        raise ValueError(f"{name}={value}: expected at least {smallest}")
    return int(value)

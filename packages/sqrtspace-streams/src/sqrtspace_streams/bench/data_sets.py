"""Data sets that fit, barely fit and do not fit a memory limit, sized by what was measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqrtspace_streams import demos
from sqrtspace_streams._hardware import available_ram
from sqrtspace_streams.demos.runs import Run, measure

SHARES = {"fits": 0.2, "barely": 0.8, "spill": 2.0}
"""Peak of classic order over the limit, by name of the data set."""
_TRIAL_BYTES = 100e6  # what classic order grows by in the second trial, about
_LARGEST_LIMIT, _RAM_SHARE = 1 << 30, 0.25


@dataclass(frozen=True)
class Growth:
    """Peak of an order: ``floor_bytes + window_bytes * windows``."""

    floor_bytes: float
    window_bytes: float

    def windows(self, peak: float) -> int:
        """Windows whose peak is that."""
        return max(int((peak - self.floor_bytes) / self.window_bytes), 1)


def default_limit() -> int:
    """1 GiB, or a quarter of the free memory if that is less."""
    return min(_LARGEST_LIMIT, int(_RAM_SHARE * available_ram()))


def measured_growth(name: str, how: str, window: int, hop: int, seed: int = 0) -> Growth:
    """Measure a demonstration, in one order, on small data sets."""
    demo = demos.load(name)

    def peak(windows: int) -> tuple[int, int]:
        with tempfile.TemporaryDirectory(prefix="sqrtspace-") as folder:
            source = Path(folder) / demo.file_name
            demo.write(source, demo.size_of(windows, window, hop), seed=seed)
            found = measure(Run(name, how, str(source), window, hop))
            return found.num_windows, found.usage.peak_bytes

    few, small = peak(100)
    some, trial = peak(700)
    each = max((trial - small) / (some - few), 1.0)
    many, large = peak(max(int(_TRIAL_BYTES / each), 2 * some))
    window_bytes = (large - small) / (many - few)
    return Growth(small - window_bytes * few, window_bytes)


def write_data_sets(
    name: str,
    folder: Path,
    limit: int,
    *,
    window: int,
    hop: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Write one file for each of `SHARES`.

    Raises
    ------
    ValueError
        If the limit leaves no room for windows.
    """
    demo, growth = demos.load(name), measured_growth(name, "classic", window, hop, seed)
    if SHARES["fits"] * limit < growth.floor_bytes + 100 * growth.window_bytes:
        least = (growth.floor_bytes + 100 * growth.window_bytes) / SHARES["fits"]
        raise ValueError(
            f"a limit of {limit / 1e6:.0f} MB leaves no room for a data set that fits easily: "
            f"expected at least {least / 1e6:.0f} MB"
        )
    paths = {}
    for kind, share in SHARES.items():
        progress(kind)
        paths[kind] = folder / f"{kind}-{window}-{demo.file_name}"
        windows = growth.windows(share * limit)
        demo.write(paths[kind], demo.size_of(windows, window, hop), seed=seed)
    return paths

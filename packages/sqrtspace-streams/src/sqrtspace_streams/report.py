"""What a run took beside its baseline, in a few lines, and whether results are equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sqrtspace_streams._rows import Array
from sqrtspace_streams.metrics import Usage
from sqrtspace_streams.plan import Plan

if TYPE_CHECKING:
    from rich.panel import Panel

_TOLERANCES = {4: (1e-5, 1e-6), 8: (1e-7, 1e-9)}  # relative, absolute; by bytes of a real number


@dataclass(frozen=True)
class Verdict:
    """Whether results are equal."""

    is_equal: bool
    text: str


def compare(rows: Array, *, classic: Array, plain: Array) -> Verdict:
    """Compare results: bytes with classic order, and to rounding with the plain baseline.

    A plain baseline calls library functions with blocks of other sizes, which may change last bits.
    """
    if not _has_bytes_of(rows, classic):
        return Verdict(False, "DIFFERENT from classic order" + _difference(rows, classic))
    if _has_bytes_of(rows, plain):
        return Verdict(True, "bit-identical to classic order and to the baseline")
    if not is_equivalent(rows, plain):
        return Verdict(False, "DIFFERENT from the baseline" + _difference(rows, plain))
    detail = _difference(rows, plain)
    return Verdict(True, f"bit-identical to classic order, baseline equal to rounding{detail}")


def is_equivalent(a: Array, b: Array) -> bool:
    """Whether arrays are equal: integers exactly, floats to rounding, NaN where there is NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    size = a.dtype.itemsize // (2 if a.dtype.kind == "c" else 1)
    rtol, atol = _TOLERANCES.get(size, _TOLERANCES[4])
    parts = [(a.real, b.real), (a.imag, b.imag)] if a.dtype.kind == "c" else [(a, b)]
    return all(np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True) for x, y in parts)


def _has_bytes_of(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _difference(a: Array, b: Array) -> str:
    if a.shape != b.shape or a.dtype != b.dtype:
        return f" ({a.dtype} {a.shape} and {b.dtype} {b.shape})"
    return f" (largest difference {np.nanmax(np.abs(a - b)):.1e})"


@dataclass(frozen=True)
class Report:
    """A run beside its plain baseline."""

    title: str
    asked: str
    """The mode that was asked for."""
    plan: Plan
    usage: Usage
    baseline: Usage
    verdict: Verdict

    def lines(self) -> list[str]:
        """The report, without its frame."""
        plan, mine, base = self.plan, self.usage, self.baseline
        mode = f"{plan.mode} (auto)" if self.asked == "auto" else plan.mode
        misses = f"{mine.llc_misses:.1e}" if mine.llc_misses is not None else "n/a"
        base_misses = f"{base.llc_misses:.1e}" if base.llc_misses is not None else "n/a"
        why = f" ({mine.llc_reason})" if mine.llc_reason else f"  (baseline {base_misses})"
        ratio = mine.cpu_seconds / base.cpu_seconds if base.cpu_seconds else float("nan")
        return [
            f"Mode: {mode}   Window: {plan.window}   k: {plan.k}   "
            f"LRU: {plan.lru_bytes >> 20}MB   Workers: {plan.workers}",
            f"Peak RSS: {_size(mine.peak_bytes)}  (baseline {_size(base.peak_bytes)})   "
            f"above imports: {_size(mine.peak_bytes - mine.floor_bytes)}  "
            f"(baseline {_size(base.peak_bytes - base.floor_bytes)})",
            f"Major Faults: {_count(mine.major_faults)}  (baseline {_count(base.major_faults)})   "
            f"Minor Faults: {_count(mine.minor_faults)}  (baseline {_count(base.minor_faults)})",
            f"Read: {_megabytes(mine.read_bytes)}  (baseline {_megabytes(base.read_bytes)})   "
            f"Written: {_megabytes(mine.write_bytes)}  (baseline {_megabytes(base.write_bytes)})",
            f"LLC Misses: {misses}{why}",
            f"Time: {ratio:.2f}× baseline ({mine.cpu_seconds:.2f} s of processor time, one run)",
            f"Outputs: {self.verdict.text}",
        ]

    def panel(self) -> Panel:
        """The report for a `rich` console."""
        from rich.panel import Panel
        from rich.text import Text

        color = "green" if self.verdict.is_equal else "red"
        text = Text("\n".join(self.lines()))
        return Panel(text, title=self.title, border_style=color, expand=False)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _count(count: int | None) -> str:
    return "n/a" if count is None else str(count)


def _megabytes(count: int | None) -> str:
    return "n/a" if count is None else f"{count / 1e6:.1f} MB"

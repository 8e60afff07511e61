"""What an evaluation did: how often each stage ran, how long, and how much of it was needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Per stage, by name."""

    rows: Counter[str] = field(default_factory=Counter)
    """Windows that were computed."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Time that it took, over all threads."""
    needed: Counter[str] = field(default_factory=Counter)
    """Windows that the answer is made of."""
    found: Counter[str] = field(default_factory=Counter)
    """Windows that came from a cache."""
    row_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of a row."""
    work_bytes: Counter[str] = field(default_factory=Counter)
    """The most memory that a call took besides its output, where that was measured."""

    def add(self, other: Counts) -> None:
        """Add what another step did."""
        for name, rows in other.rows.items():
            self.rows[name] += rows
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.row_bytes.update(other.row_bytes)
        for name, rows in other.found.items():
            self.found[name] += rows
        for name, size in other.work_bytes.items():
            self.work_bytes[name] = max(size, self.work_bytes[name])

    def copy(self) -> Counts:
        """A snapshot."""
        copy = Counts()
        copy.add(self)
        return copy

    def since(self, before: Counts) -> Counts:
        """Rows and seconds since a snapshot was taken."""
        later = Counts(self.rows - before.rows, row_bytes=dict(self.row_bytes))
        for name, seconds in self.seconds.items():
            later.seconds[name] = seconds - before.seconds[name]
        return later

    def recompute_ratio(self) -> float:
        """Time spent on windows beyond the needed ones, as a share of the rest."""
        spent = needed = 0.0
        for name, count in self.rows.items():
            spent += self.seconds[name]
            needed += self.seconds[name] * min(1.0, self.needed[name] / max(count, 1))
        return spent / needed - 1.0 if needed else 0.0

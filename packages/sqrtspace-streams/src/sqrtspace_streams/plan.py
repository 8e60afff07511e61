"""How to evaluate: the mode, the tile, what is kept, and the reasons; decided from costs.

`Planner` knows nothing of stages: it is given what a window of each of them costs (`Costs`), the
settings and the machine, and weighs classic order against tiles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqrtspace_streams._costs import MAX_RECOMPUTE, Costs
from sqrtspace_streams.cache import RING_BYTES, RingKind, entry_bytes, slots_within
from sqrtspace_streams.config import Settings

CACHE_SHARE = 0.6  # of the last-level cache, for tiles, LRU cache and checkpoints
RAM_SHARE = 0.5  # of the free memory: where classic order stops being comfortable
MAX_SLOWDOWN = 0.10
_MAX_OVERHEAD = 0.02  # of a tile's time
_LARGEST_TILE = 4096
LARGEST_HOT_BYTES = 4 << 20  # of tiles larger than one block: about what a core's cache holds
_MIN_TILE_SECONDS = 4e-3  # below, handing a tile to a thread costs too much
_DEFAULT_SLOTS = 1024


@dataclass(frozen=True)
class Machine:
    """What there is to plan with."""

    llc_bytes: int
    ram_bytes: int
    processors: int
    fresh_seconds_per_byte: float = 0.0
    """To touch memory for the first time."""


@dataclass(frozen=True)
class Plan:
    """A decision, with what it was decided from. Bytes are growth above the present size."""

    mode: str
    reasons: tuple[str, ...]
    window: int
    hop: int
    block_rows: int
    num_windows: int | None
    tile: int
    k: int
    """Windows between two checkpoints, to begin with."""
    slots: int
    ring: RingKind
    lru_bytes: int
    workers: int
    checkpointed_stage: str | None = None
    """The stage without state that is checkpointed as well; kernels are in any case."""
    stage_slots: int = 0
    """Checkpoints of it."""
    ring_limit_bytes: int | None = None
    """What the checkpoints of a stage may take; None where their number was asked for."""
    hot_bytes: int = 0
    """Tiles in work at once."""
    checkpoint_bytes: int = 0
    result_bytes: int = 0
    classic_bytes: int | None = None
    sqrt_bytes: int | None = None
    classic_seconds: float | None = None
    sqrt_seconds: float | None = None
    slowdown: float | None = None
    """Predicted time of tiles over that of classic order, less 1."""
    recompute: float = 0.0
    """Predicted share of windows that are computed to get to the first one."""
    llc_bytes: int = 0
    ram_bytes: int = 0
    constraints: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)

    def to_json(self) -> str:
        """A JSON object with every field."""
        return json.dumps(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        """The plan that `to_json` wrote, from the object that was read."""
        return cls(**{**values, "reasons": tuple(values["reasons"])})


class Planner:
    """Decides between classic order and tiles.

    Parameters
    ----------
    settings : Settings
        What the user gave explicitly is never changed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def without_costs(
        self, num_windows: int | None, reason: str, mode: str, tile: int = 32
    ) -> Plan:
        """A plan for where nothing was measured."""
        s = self.settings
        tile = self._aligned(s.tile or max(tile, s.block_rows))
        workers = s.max_workers if "max_workers" in s.explicit else 1
        return self._plan(mode, (reason,), num_windows, tile, workers)

    def for_few(self, num_windows: int, costs: Costs | None) -> Plan:
        """A plan for a single block; its tile is for what kernels have to step over."""
        tile = 32
        while costs and 2 * tile <= _LARGEST_TILE:
            if costs.live_bytes(2 * tile) > LARGEST_HOT_BYTES:
                break
            tile *= 2
        return self.without_costs(num_windows, "so few windows are one tile", "sqrt", tile)

    def decide(
        self,
        costs: Costs,
        num_windows: int | None,
        machine: Machine,
        *,
        keeps_result: bool,
        replay: int = 0,
        probed: int = 0,
    ) -> Plan:
        """Weigh the two orders.

        Parameters
        ----------
        costs : Costs
        num_windows : int, optional
            Windows of the target that are asked for; None where only the end will tell.
        machine : Machine
        keeps_result : bool
            Whether all rows end up in one array.
        replay : int
            Windows that kernels step over to get to the first one.
        probed : int
            Windows of the largest tile that was measured; freed memory stays with the process.
        """
        s = self.settings
        budget = int(CACHE_SHARE * machine.llc_bytes)
        for_tiles = min(budget // 2, budget - costs.entry_bytes)  # one checkpoint at least
        tile, workers = self._tile_and_workers(costs, for_tiles, machine.processors)
        in_flight = _in_flight(workers)
        hot = costs.live_bytes(tile) * in_flight
        slots = self._slots(costs, num_windows, budget - hot)
        left = budget - hot - slots * costs.entry_bytes
        stage, stage_slots, row_bytes = self._checkpointed_stage(costs, num_windows, slots, left)
        ring_bytes = slots * costs.entry_bytes + stage_slots * row_bytes
        lru = s.lru_bytes
        if "lru_bytes" not in s.explicit:
            lru = max(min(lru, budget - hot - ring_bytes), 0)
        constraints = {}
        if hot + ring_bytes + lru > budget:
            by_user = s.explicit & {"tile", "slots", "lru_bytes", "ring"}
            constraints["llc"] = "violated:user" if by_user else "violated:window"
        share = replay / num_windows if num_windows else 0.0
        if share > MAX_RECOMPUTE:
            constraints["recompute"] = "exceeded"
        rows = num_windows or 0
        result = costs.stages[-1].row_bytes * rows if keeps_result else 0
        classic = costs.live_bytes(rows) if num_windows is not None else None
        small = costs.live_bytes(min(tile, rows) if num_windows is not None else tile) * in_flight
        small = max(small, costs.live_bytes(probed))
        used_slots = min(slots, -(-rows // s.checkpoint_every)) if num_windows else slots
        sqrt = small + result + used_slots * costs.entry_bytes
        sqrt += min(used_slots, stage_slots) * row_bytes
        tiles, fresh = -(-rows // tile), machine.fresh_seconds_per_byte
        work, overhead = rows * costs.seconds, costs.overhead_seconds
        classic_seconds = work + overhead + (classic or 0) * fresh
        sqrt_seconds = work + overhead * tiles + sqrt * fresh
        is_known = num_windows is not None and classic_seconds > 0
        slowdown = sqrt_seconds / classic_seconds - 1 if is_known else None
        mode, reasons = self._mode(classic, slowdown, budget, machine.ram_bytes)
        if not keeps_result and s.mode == "auto":
            mode, reasons = "sqrt", ("rows are taken piece by piece: classic order has no pieces",)
        return self._plan(
            mode,
            reasons,
            num_windows,
            tile,
            workers,
            slots=slots,
            checkpointed_stage=stage,
            stage_slots=stage_slots,
            lru_bytes=lru,
            hot_bytes=hot,
            checkpoint_bytes=ring_bytes,
            result_bytes=result,
            classic_bytes=classic,
            sqrt_bytes=sqrt,
            classic_seconds=classic_seconds if num_windows is not None else None,
            sqrt_seconds=sqrt_seconds if num_windows is not None else None,
            slowdown=slowdown,
            recompute=share,
            llc_bytes=machine.llc_bytes,
            ram_bytes=machine.ram_bytes,
            constraints=constraints,
        )

    def _checkpointed_stage(
        self, costs: Costs, num_windows: int | None, slots: int, room: int
    ) -> tuple[str | None, int, int]:
        """The stage without state that has checkpoints, their number, and the bytes of one."""
        stage = costs.lowest_expensive_producer(self.settings.block_rows)
        if stage is None:
            return None, 0, 0
        size = entry_bytes(stage.row_bytes, None)
        wanted = self.settings.slots or min(_root(num_windows), slots_within(RING_BYTES, size))
        stage_slots = max(min(slots, wanted, room // size), 0)
        return (stage.name, stage_slots, size) if stage_slots else (None, 0, 0)

    def _mode(
        self, classic: int | None, slowdown: float | None, budget: int, ram: int
    ) -> tuple[str, tuple[str, ...]]:
        """The order, and why."""
        if self.settings.mode != "auto":
            return self.settings.mode, (f"mode={self.settings.mode!r} was asked for",)
        comfortable = int(RAM_SHARE * ram)
        if classic is None:
            return "sqrt", ("the length of the stream is not known: tiles need no length",)
        fits = f"classic order needs {_mib(classic)}, the cache has room for {_mib(budget)}"
        if classic <= budget and slowdown is not None and slowdown < -MAX_SLOWDOWN:
            return "sqrt", (fits, f"tiles are faster by {-slowdown:.0%} even so: memory is reused")
        if classic <= budget:
            return "classic", (fits,)
        late = slowdown is not None and slowdown > MAX_SLOWDOWN
        if classic > comfortable:
            why = f"classic order needs {_mib(classic)}, of {_mib(ram)} free"
            slow = (f"tiles are slower by {slowdown:.0%}",) if late else ()
            return "sqrt", (why, *slow)
        if late:
            return "classic", (f"it fits in memory, and tiles would be slower by {slowdown:.0%}",)
        why = f"classic order needs {_mib(classic)}, more than the cache; tiles cost no time"
        return "sqrt", (why,)

    def _tile_and_workers(self, costs: Costs, room: int, processors: int) -> tuple[int, int]:
        """The smallest tile whose overhead is small, and the threads that it feeds."""
        s = self.settings
        smallest = self._aligned(s.tile or s.block_rows)
        fitting = room // max(costs.live_bytes(smallest), 1) - 1  # one more is in flight
        useful = int(1 / costs.held) if costs.held > 1 / processors else processors
        workers = max(min(s.max_workers, processors, fitting, useful), 1)
        tile = self._tile(costs, room, smallest, workers)
        if workers > 1 and tile * costs.seconds < _MIN_TILE_SECONDS:
            return self._tile(costs, room, smallest, 1), 1
        return tile, workers

    def _tile(self, costs: Costs, room: int, tile: int, workers: int) -> int:
        """The smallest tile whose overhead is small, if it is as small as caches are."""
        most = min(room, LARGEST_HOT_BYTES) // _in_flight(workers)
        fixed = max(costs.overhead_seconds, costs.tile_seconds)
        while not self.settings.tile and 2 * tile <= _LARGEST_TILE:
            is_long = fixed <= _MAX_OVERHEAD * tile * costs.seconds
            if is_long or costs.live_bytes(2 * tile) > most:
                break
            tile *= 2
        return tile

    def _slots(self, costs: Costs, num_windows: int | None, room: int) -> int:
        """How many checkpoints: about the root of the windows, if those are few bytes."""
        s = self.settings
        if s.slots:
            return s.slots
        if s.ring == "window":
            return s.checkpoint_every  # the last k * k windows
        wanted = _root(num_windows)
        if num_windows is not None:
            kept = -(-num_windows // s.checkpoint_every)
            wanted = kept if "checkpoint_every" in s.explicit else min(kept, wanted)
        if costs.entry_bytes:
            if self._limits_rings():
                wanted = min(wanted, slots_within(RING_BYTES, costs.entry_bytes))
            wanted = min(wanted, room // costs.entry_bytes)
        return max(wanted, 1)

    def _limits_rings(self) -> bool:
        """Whether a ring may thin out by its bytes: where nobody said how many it keeps."""
        return not self.settings.explicit & {"slots", "checkpoint_every"}

    def _plan(
        self,
        mode: str,
        reasons: Sequence[str],
        num_windows: int | None,
        tile: int,
        workers: int,
        **values: object,
    ) -> Plan:
        s = self.settings
        fields: dict[str, object] = {
            "slots": s.slots or (s.checkpoint_every if s.ring == "window" else _DEFAULT_SLOTS),
            "lru_bytes": s.lru_bytes,
            **values,
        }
        return Plan(
            mode=mode,
            reasons=tuple(reasons),
            window=s.window,
            hop=s.hop,
            block_rows=s.block_rows,
            num_windows=num_windows,
            tile=tile,
            k=s.checkpoint_every,
            ring_limit_bytes=RING_BYTES if self._limits_rings() else None,
            ring="thin" if s.ring == "auto" else s.ring,
            workers=workers if mode == "sqrt" else 1,
            **fields,  # type: ignore[arg-type]
        )

    def _aligned(self, tile: int) -> int:
        return tile + -tile % self.settings.block_rows


def _root(num_windows: int | None) -> int:
    """About the root of the windows; a guess where their number is not known."""
    return _DEFAULT_SLOTS if num_windows is None else max(math.isqrt(num_windows), 16)


def _in_flight(workers: int) -> int:
    """Tiles in memory at once."""
    return workers + 1 if workers > 1 else 1


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"

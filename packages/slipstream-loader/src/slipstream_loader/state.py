"""``LoaderState``: where a run is, in numbers that do not depend on batches, ranks or threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any

from slipstream_loader.errors import StateError
from slipstream_loader.order import ORDER_VERSION

STATE_VERSION = 1


@dataclass(frozen=True)
class LoaderState:
    """What ``SlipstreamLoader.state_dict`` saves."""

    seed: int
    epoch: int
    samples: int
    """Samples of the epoch that ``next()`` has returned, over all ranks."""
    order: str
    """The order and what it selects from, as text."""
    num_samples: int
    """Samples of a whole epoch over all ranks."""
    cache_key: str
    world_size: int
    version: int = STATE_VERSION
    order_version: int = ORDER_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for ``torch.save`` or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LoaderState:
        """Read what ``as_dict`` wrote.

        Raises
        ------
        StateError
            If it is no such state, or of another version.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(state, Mapping) or set(state) != set(names):
            raise StateError(f"not a loader's state: expected the keys {names}")
        found = cls(**state)
        for name in ("seed", "epoch", "samples"):
            value = state[name]
            if not isinstance(value, Integral) or (value < 0 and name != "seed"):
                raise StateError(f"not a loader's state: {name} is {value!r}")
        if (found.version, found.order_version) != (STATE_VERSION, ORDER_VERSION):
            raise StateError(
                f"the state is of version {found.version} with orders of version "
                f"{found.order_version}; this slipstream has {STATE_VERSION} and {ORDER_VERSION} "
                "and would serve another order: resume with the version that saved it"
            )
        return found

    def check_fits(self, here: LoaderState, is_elastic: bool) -> None:
        """Refuse to resume something else.

        Parameters
        ----------
        here : LoaderState
            Of the loader that would resume.
        is_elastic : bool
            Whether the number of ranks may differ.

        Raises
        ------
        StateError
            Naming what differs.
        """
        names = ["cache_key", "order", "num_samples"] + ([] if is_elastic else ["world_size"])
        for name in names:
            saved, found = getattr(self, name), getattr(here, name)
            if saved != found:
                raise StateError(
                    f"this state is of another run: {name} was {saved!r} and is {found!r} here"
                )

"""Which rank of how many this process is, and what ranks must agree on."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from typing import Any

import torch.distributed

from slipstream_loader.errors import LoaderError

_logger = logging.getLogger(__name__)

_TORCHRUN = ("RANK", "WORLD_SIZE")
_SRUN = ("SLURM_PROCID", "SLURM_NTASKS")


@dataclass(frozen=True)
class Ranks:
    """This process among those that share an epoch."""

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    """Ranks on this node."""

    @property
    def node(self) -> int:
        """Number of this node."""
        return self.rank // self.local_world_size

    @property
    def num_nodes(self) -> int:
        """Nodes that take part."""
        return -(-self.world_size // self.local_world_size)


def is_group_ready() -> bool:
    """Whether torch.distributed is initialised."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def find_ranks(distributed: bool | None) -> Ranks:
    """Rank and world size: of torch.distributed, else of torchrun, else of an srun step.

    Parameters
    ----------
    distributed : bool or None
        False: this process serves all samples by itself. True: it is an error to find no ranks.

    Raises
    ------
    LoaderError
        If ``distributed`` is True and there are no ranks.
    """
    if distributed is False:
        return Ranks()
    if is_group_ready():
        world_size = torch.distributed.get_world_size()
        return Ranks(torch.distributed.get_rank(), world_size, _local_world_size(world_size))
    for names in (_TORCHRUN, _SRUN):
        if names == _SRUN and not _is_srun_step():
            continue
        if names[0] in os.environ and names[1] in os.environ:
            size = _environment_number(names[1], 1)
            found = Ranks(_environment_number(names[0], 0), size, _local_world_size(size))
            _logger.info("rank %d of %d, from %s", found.rank, found.world_size, names[0])
            return found
    if distributed:
        raise LoaderError(
            "distributed=True, but there are no ranks: start the program with torchrun, or "
            "initialise torch.distributed before making the loader"
        )
    return Ranks()


def _is_srun_step() -> bool:
    """Whether srun started this process: a batch script has most of its variables too."""
    return "SLURM_STEP_ID" in os.environ


def _local_world_size(world_size: int) -> int:
    """Ranks on this node: as torchrun says, or srun if it started all of them; else all."""
    if "LOCAL_WORLD_SIZE" in os.environ:
        return _environment_number("LOCAL_WORLD_SIZE", world_size)
    if _is_srun_step() and _environment_number("SLURM_NTASKS", 0) == world_size:
        return _environment_number("SLURM_NTASKS_PER_NODE", world_size)
    return world_size


def _environment_number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default


def agreed_seed(seed: int | None, ranks: Ranks) -> int:
    """The seed; if there is none, one that is drawn and that all ranks share.

    Raises
    ------
    LoaderError
        If a seed has to be drawn and the ranks cannot talk to each other yet.
    """
    if seed is not None:
        return int(seed)
    drawn = secrets.randbits(63)
    if ranks.world_size == 1:
        return drawn
    if not is_group_ready():
        raise LoaderError(
            f"{ranks.world_size} ranks would each draw a seed of their own: pass seed=, or "
            "initialise torch.distributed before making the loader"
        )
    return int(agreed(drawn, ranks))


def agreed(value: Any, ranks: Ranks) -> Any:
    """Rank 0's value on every rank, where ranks can talk to each other; else each its own."""
    if ranks.world_size == 1 or not is_group_ready():
        return value
    shared = [value]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]


def check_agreement(facts: dict[str, Any], ranks: Ranks) -> None:
    """Compare facts that must be equal on all ranks, where ranks can talk to each other.

    Raises
    ------
    LoaderError
        On every rank, naming the facts that differ.
    """
    if ranks.world_size == 1 or not is_group_ready():
        return
    everyone: list[dict[str, Any]] = [{} for _ in range(ranks.world_size)]
    torch.distributed.all_gather_object(everyone, facts)
    for name in facts:
        values = [theirs.get(name) for theirs in everyone]
        if any(value != values[0] for value in values):
            listed = ", ".join(f"rank {rank}: {value}" for rank, value in enumerate(values))
            raise LoaderError(
                f"ranks differ in {name} ({listed}): they would not serve the same epoch"
            )

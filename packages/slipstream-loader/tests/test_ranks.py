"""Which rank this is, and what ranks agree on."""

from __future__ import annotations

import numpy as np
import pytest
import torch.distributed

from slipstream_loader import LoaderError
from slipstream_loader.ranks import Ranks, agreed_seed, check_agreement, find_ranks

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ranks in the environment."""
    for name in (*NAMES, "SLURM_NTASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank; asking for several is an error."""
    assert find_ranks(None) == Ranks()
    with pytest.raises(LoaderError, match="torchrun"):
        find_ranks(True)


def test_torchruns_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank, world size, node; ``distributed=False`` looks away."""
    _set(monkeypatch, RANK="5", WORLD_SIZE="8", LOCAL_WORLD_SIZE="4")
    ranks = find_ranks(None)
    assert (ranks.rank, ranks.world_size, ranks.node, ranks.num_nodes) == (5, 8, 1, 2)
    assert find_ranks(False) == Ranks()


def test_srun_but_not_a_batch_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch script has SLURM_NTASKS as well: taking a share of the data there would be silent
    loss."""
    _set(monkeypatch, SLURM_PROCID="0", SLURM_NTASKS="4")
    assert find_ranks(None) == Ranks()
    _set(monkeypatch, SLURM_STEP_ID="0", SLURM_PROCID="3", SLURM_NTASKS_PER_NODE="2")
    ranks = find_ranks(None)
    assert (ranks.rank, ranks.world_size, ranks.local_world_size) == (3, 4, 2)


def test_nodes_of_srun_with_a_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names the ranks: what srun started tells how many share a node."""
    _set(monkeypatch, SLURM_STEP_ID="0", SLURM_PROCID="3", SLURM_NTASKS="4")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    assert find_ranks(None) == Ranks(3, 4, 4)
    _set(monkeypatch, SLURM_NTASKS_PER_NODE="2")
    assert find_ranks(None) == Ranks(3, 4, 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)  # spawned by the tasks
    assert find_ranks(None) == Ranks(3, 8, 8)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    _set(monkeypatch, RANK="3", WORLD_SIZE="4")  # set by the script, from SLURM's
    assert find_ranks(None) == Ranks(3, 4, 2)


def test_seeds() -> None:
    """A given one is kept; alone one is drawn; ranks that cannot talk need one."""
    assert agreed_seed(5, Ranks(1, 2)) == 5
    assert agreed_seed(None, Ranks()) != agreed_seed(None, Ranks())
    with pytest.raises(LoaderError, match="pass seed="):
        agreed_seed(None, Ranks(1, 2))
    check_agreement({"x": 1}, Ranks(1, 2))


def test_ranks_take_the_engines_of_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 measures on samples of which some may be damaged; the others take what it found."""
    from slipstream_decoders import BatchContext, engine_choices
    from slipstream_decoders.stages.device.choose import adopt_engines, forget_engines
    from slipstream_loader import device_engines
    from slipstream_loader.transfer import CpuTransfer

    measured = []

    def make(context: BatchContext) -> dict[str, object]:
        measured.append(context.failures)
        adopt_engines({"jpeg": "planes"})
        return {}

    context = BatchContext(np.arange(3), seed=1)
    forget_engines()
    for rank, told in ((0, {"jpeg": "planes"}), (1, {})):
        monkeypatch.setattr(device_engines, "agreed", lambda value, ranks: value or {"jpeg": "cpu"})
        device_engines.agree_on_engines(make, CpuTransfer(), context, Ranks(rank, 2, 2))
        assert engine_choices() == (told or {"jpeg": "cpu"})
        forget_engines()
    assert measured == [{}]
    device_engines.agree_on_engines(make, CpuTransfer(), context, Ranks())
    assert engine_choices() == {}

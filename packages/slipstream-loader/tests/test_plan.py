"""Which rank serves which samples: completeness, equality over ranks and batches, resuming."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DistributedSampler, SubsetRandomSampler

from slipstream_loader import EmptyDatasetError, LoaderError, QuasiRandom
from slipstream_loader.plan import EpochPlan, Selection
from slipstream_loader.ranks import Ranks


def plans(
    world_size: int, position: int = 0, local: int | None = None, **options: Any
) -> list[EpochPlan]:
    """The plans of all ranks for epoch 2 of seed 1."""
    local = local or world_size
    return [
        Selection(
            **{"batch_size": 4, "order": "random", "drop_last": False, **options},
            ranks=Ranks(rank, world_size, local),
        ).plan(1, 2, position)
        for rank in range(world_size)
    ]


def global_batches(ranks: list[EpochPlan]) -> list[list[tuple[int, int]]]:
    """(id, occurrence) of every batch number, over all ranks in the order of the samples."""
    batches = []
    for number in range(len(ranks[0])):
        rows = [plan.batch(number) for plan in ranks]
        columns = [
            list(zip(p.sample_ids[r].tolist(), p.occurrences[r].tolist(), strict=True))
            for p, r in zip(ranks, rows, strict=True)
        ]
        kept = [
            [pair for pair, pad in zip(column, p.is_padding[r], strict=True) if not pad]
            for column, p, r in zip(columns, ranks, rows, strict=True)
        ]
        longest = max(len(column) for column in kept)
        batches.append([c[turn] for turn in range(longest) for c in kept if turn < len(c)])
    return batches


ORDERS = st.one_of(
    st.sampled_from(["random", "sequential", "contiguous"]),
    st.builds(QuasiRandom, st.integers(1, 12), st.integers(1, 4)),
)


@settings(max_examples=150)
@given(
    num=st.integers(1, 120),
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 6),
    order=ORDERS,
    drop_last=st.booleans(),
    repeats=st.integers(1, 3),
    subset=st.integers(0, 3),
)
def test_every_sample_comes_once_over_all_ranks(
    num: int,
    batch_size: int,
    world_size: int,
    order: Any,
    drop_last: bool,
    repeats: int,
    subset: int,
) -> None:
    """... but for dropped or masked ones; all ranks have equally many batches; len is exact."""
    indices = np.arange(0, num, subset, dtype=np.int64) if subset else None
    chosen = np.arange(num) if indices is None else indices
    options: dict[str, Any] = {
        "num_stored": num,
        "batch_size": batch_size,
        "order": order,
        "drop_last": drop_last,
        "repeats": repeats,
        "indices": indices,
    }
    ranks = plans(world_size, **options)
    assert len({len(plan) for plan in ranks}) == 1
    assert len({plan.sample_ids.size for plan in ranks}) == 1
    served = np.concatenate([plan.sample_ids[~plan.is_padding] for plan in ranks])
    counts = np.bincount(served, minlength=num)[chosen]
    if drop_last:
        assert counts.max(initial=0) <= repeats
        assert all(plan.sample_ids.size % batch_size == 0 for plan in ranks)
        lost = chosen.size * repeats - served.size
        assert lost < batch_size * world_size + (world_size if order == "contiguous" else 0)
    else:
        assert (counts == repeats).all()
        assert sum(plan.is_padding.sum() for plan in ranks) < world_size
    pairs = [pair for batch in global_batches(ranks) for pair in batch]
    assert len(set(pairs)) == len(pairs)
    selection = Selection(**options, ranks=Ranks(0, world_size, world_size))
    if drop_last and len(ranks[0]) == 0:
        with pytest.raises(EmptyDatasetError):
            selection.num_batches()
    else:
        assert selection.num_batches() == len(ranks[0])


@settings(max_examples=150)
@given(
    num=st.integers(1, 150),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.integers(1, 9)),
    steps=st.integers(0, 10),
    order=st.sampled_from(["random", "sequential", QuasiRandom(5, 3)]),
    weighted=st.booleans(),
)
def test_an_epoch_can_be_taken_up_with_other_ranks_and_batches(
    num: int, sizes: tuple[int, int, int, int], steps: int, order: Any, weighted: bool
) -> None:
    """The samples before and after the break are those of an unbroken epoch, in its order."""
    first_world, first_batch, second_world, second_batch = sizes
    weights = np.arange(1.0, num + 1) if weighted else None
    options: dict[str, Any] = {"num_stored": num, "order": order, "weights": weights}
    unbroken = [p for b in global_batches(plans(1, **options, batch_size=3)) for p in b]
    before = plans(first_world, **options, batch_size=first_batch)
    steps = min(steps, len(before[0]))
    done = [pair for batch in global_batches(before)[:steps] for pair in batch]
    positions = {plan.position_after(steps) for plan in before}
    assert len(positions) == 1
    (position,) = positions
    assert position == len(done)
    after = plans(second_world, position, **options, batch_size=second_batch)
    rest = [pair for batch in global_batches(after) for pair in batch]
    assert done + rest == unbroken
    assert {plan.position_after(len(plan)) for plan in after} == {num}


@given(num=st.integers(1, 90), world_size=st.integers(1, 4), steps=st.integers(0, 8))
def test_contiguous_ranks_go_on_where_they_were(num: int, world_size: int, steps: int) -> None:
    """Each rank serves one stretch, and resumes in it, also with another batch size."""
    options: dict[str, Any] = {"num_stored": num, "order": "contiguous"}
    whole = plans(world_size, **options, batch_size=3)
    for plan in whole:
        kept = plan.sample_ids[~plan.is_padding]
        assert (np.diff(kept) == 1).all()
    steps = min(steps, len(whole[0]) - 1)
    position = whole[0].position_after(steps)
    for plan, rest in zip(whole, plans(world_size, position, **options, batch_size=2), strict=True):
        done = int(plan.starts[steps])
        np.testing.assert_array_equal(rest.sample_ids, plan.sample_ids[done:])


@settings(max_examples=60)
@given(
    num=st.integers(40, 200),
    nodes=st.integers(1, 3),
    local=st.integers(1, 3),
    drop_last=st.booleans(),
    steps=st.integers(0, 4),
)
def test_node_local_order_keeps_blocks_on_their_node(
    num: int, nodes: int, local: int, drop_last: bool, steps: int
) -> None:
    """No block is read by two nodes; nothing is served twice; a resumed rank goes on."""
    order = QuasiRandom(block_samples=7, window_blocks=2, node_local=True)
    options: dict[str, Any] = {"num_stored": num, "order": order, "drop_last": drop_last}
    ranks = plans(nodes * local, local=local, **options)
    assert len({plan.sample_ids.size for plan in ranks}) == 1
    kept = [plan.sample_ids[~plan.is_padding] for plan in ranks]
    blocks = [
        set((np.concatenate(kept[node * local : (node + 1) * local]) // 7).tolist())
        for node in range(nodes)
    ]
    assert sum(len(block) for block in blocks) == len(set().union(*blocks))
    served = np.concatenate(kept)
    assert np.unique(served).size == served.size
    if not drop_last:
        assert served.size == num
    steps = min(steps, len(ranks[0]))
    if steps < len(ranks[0]):
        position = ranks[0].position_after(steps)
        again = plans(nodes * local, position, local, **options)
        for plan, rest in zip(ranks, again, strict=True):
            np.testing.assert_array_equal(
                rest.sample_ids, plan.sample_ids[int(plan.starts[steps]) :]
            )


def test_node_local_order_needs_equal_nodes() -> None:
    """Three ranks on nodes of two, and fewer blocks than nodes, are refused."""
    order = QuasiRandom(7, 2, node_local=True)
    with pytest.raises(LoaderError, match="equal numbers"):
        plans(3, local=2, num_stored=50, order=order)
    with pytest.raises(LoaderError, match="1 blocks"):
        plans(2, local=1, num_stored=5, order=order)


@pytest.mark.parametrize("options", [{"repeats": 2}, {"weights": np.ones(50)}])
def test_node_local_order_refuses_what_is_not_local(options: dict[str, Any]) -> None:
    """Repeats and weights would make nodes read each other's blocks."""
    order = QuasiRandom(7, 2, node_local=True)
    with pytest.raises(ValueError, match=next(iter(options))):
        plans(4, local=2, num_stored=50, order=order, **options)


def test_torch_samplers_decide_what_they_are_given() -> None:
    """A sampler, a DistributedSampler (whose epoch is set) and a BatchSampler; a break in each."""
    base: dict[str, Any] = {"num_stored": 20}
    sampler = SubsetRandomSampler([3, 5, 7, 9, 11])
    (plan,) = plans(1, **base, sampler=sampler)
    assert sorted(plan.sample_ids.tolist()) == [3, 5, 7, 9, 11]
    assert plan.starts.tolist() == [0, 4, 5]

    distributed = DistributedSampler(range(20), num_replicas=2, rank=1, seed=3)  # type: ignore[arg-type]
    (plan,) = plans(1, **base, sampler=distributed)
    distributed.set_epoch(2)
    assert plan.sample_ids.tolist() == list(distributed)
    distributed.set_epoch(0)
    (rest,) = plans(1, plan.position_after(1), **base, sampler=distributed)
    np.testing.assert_array_equal(
        np.concatenate([rest.sample_ids[rest.batch(k)] for k in range(len(rest))]),
        plan.sample_ids[4:],
    )
    assert rest.position_after(len(rest)) == rest.end == 10

    batches = BatchSampler(range(10), batch_size=3, drop_last=False)
    (plan,) = plans(1, **base, batch_sampler=batches)
    assert [plan.sample_ids[plan.batch(k)].tolist() for k in range(len(plan))] == list(batches)
    with pytest.raises(LoaderError, match="batch's border"):
        plans(1, 2, **base, batch_sampler=batches)
    repeated: Any = [[1, 1], [1, 2]]
    (plan,) = plans(1, **base, batch_sampler=repeated)
    assert plan.occurrences.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"indices": np.array([0, 20])}, IndexError, "20"),
        ({"indices": np.array([-1])}, IndexError, "-1"),
        ({"indices": np.array([[1]])}, ValueError, "shape"),
        ({"weights": np.ones(3)}, ValueError, "20"),
        ({"weights": np.zeros(20)}, ValueError, "zero"),
        ({"weights": np.full(20, np.nan)}, ValueError, "finite"),
        ({"repeats": 0}, ValueError, "repeats"),
        ({"sampler": [1], "weights": np.ones(20)}, ValueError, "weights"),
        ({"sampler": [1], "batch_sampler": [[1]]}, ValueError, "batch_sampler"),
        ({"sampler": iter([1])}, TypeError, "length"),
    ],
)
def test_wrong_selections_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """At once, with the culprit named."""
    with pytest.raises(error, match=message):
        Selection(
            num_stored=20,
            batch_size=4,
            order="random",
            drop_last=False,
            ranks=Ranks(),
            **options,
        )


def test_an_empty_selection_is_an_error() -> None:
    """No samples, no loader."""
    with pytest.raises(EmptyDatasetError, match="no samples"):
        Selection(
            num_stored=5,
            batch_size=4,
            order="random",
            drop_last=False,
            ranks=Ranks(),
            indices=np.empty(0, np.int64),
        ).num_batches()

"""Schedules: as few steps as there can be, within their slots, and as theory counts them."""

from __future__ import annotations

import heapq
from itertools import count, pairwise
from math import comb
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sqrtspace_streams.schedules.choice as choice
from sqrtspace_streams.schedules import (
    Action,
    ExactTable,
    ThinPlacement,
    actions,
    binomial_steps,
    choose,
    mixed,
    mixed_steps,
    num_steps,
    revolve,
    tally,
    uniform,
)


def fewest_steps(num_windows: int, state: int, row: int, budget: int) -> int | None:
    """A search over everything that a machine could do, one window at a time."""
    first = (0, frozenset[tuple[str, int]](), num_windows - 1)
    best, order = {first: 0}, count()
    waiting = [(0, 0, first)]

    def size(items: frozenset[tuple[str, int]]) -> int:
        return sum(state if kind == "state" else row for kind, _ in items)

    while waiting:
        steps, _, node = heapq.heappop(waiting)
        position, items, wanted = node
        if wanted < 0:
            return steps
        if steps > best[node]:
            continue
        after: list[tuple[int, Any]] = []
        if ("row", wanted) in items:
            after.append((0, (position, items - {("row", wanted)}, wanted - 1)))
        if position <= wanted:
            handed_over = wanted - (position == wanted)
            after.append((1, (position + 1, items, handed_over)))
            keeps_row = items | {("row", position)}
            if position < wanted and size(keeps_row) <= budget:
                after.append((1, (position + 1, keeps_row, wanted)))
            keeps_state = items | {("state", position)}
            if size(keeps_state) <= budget:
                after.append((0, (position, keeps_state, wanted)))
        for item in items:
            after.append((0, (position, items - {item}, wanted)))
            if item[0] == "state":
                after.append((0, (item[1], items, wanted)))
        for more, node in after:
            if steps + more < best.get(node, 1 << 60):
                best[node] = steps + more
                heapq.heappush(waiting, (steps + more, next(order), node))
    return None


@pytest.mark.parametrize(("state", "row"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_no_strategy_takes_fewer_steps(state: int, row: int) -> None:
    """Of all that can be done within the bytes, the chosen schedule is the best."""
    for num_windows in range(1, 7):
        for budget in range(5):
            least = fewest_steps(num_windows, state, row, budget)
            if least is None:
                with pytest.raises(ValueError, match="cannot be reversed within"):
                    choose(num_windows, state, row, budget)
                assert ExactTable(num_windows, state, row, budget).least(num_windows) is None
                continue
            assert choose(num_windows, state, row, budget).steps == least
            assert ExactTable(num_windows, state, row, budget).least(num_windows) == least


def test_closed_forms_equal_the_dynamic_program() -> None:
    """For one size of states and rows, and for states alone, at every length up to 120."""
    for slots in (1, 2, 3, 7, 20):
        table = ExactTable(120, 1, 1, slots)
        states_only = ExactTable(120, 1, slots + 1, slots)
        for n in range(1, 121):
            assert mixed_steps(n, slots) == table.least(n) == num_steps(n, mixed(slots))
            assert binomial_steps(n, slots) == states_only.least(n) == num_steps(n, revolve(slots))


def test_steps_are_never_above_those_of_checkpoint_schedules() -> None:
    """Another implementation counts as many, for rows and states and for states alone."""
    multistage = pytest.importorskip("checkpoint_schedules.multistage")
    other = pytest.importorskip("checkpoint_schedules.mixed")
    for slots in (1, 2, 5, 12, 40):
        for n in (2, 3, 10, 41, 42, 77, 150):
            slots_used = min(slots, n - 1)
            assert mixed_steps(n, slots) <= other.optimal_steps_mixed(n, slots_used)
            assert binomial_steps(n, slots) <= multistage.optimal_steps_binomial(n, slots_used)


def test_binomial_reach() -> None:
    """(c + r choose r) windows are passed over r times at most, one more needs another pass."""
    for states, repeats in ((1, 4), (3, 3), (9, 2), (180, 2)):
        reach = comb(states + repeats, repeats)
        skipped = comb(states + repeats, repeats - 1)
        assert binomial_steps(reach, states) == (repeats + 1) * reach - skipped
        more = binomial_steps(reach + 1, states) - binomial_steps(reach, states)
        assert more == repeats + 2


def test_a_million_windows() -> None:
    """1413 bundles for two steps a window, 180 for three; uniform spacing needs 1999 for two."""
    million = 10**6
    found = tally(actions(million, mixed(1413)), million)
    assert found.steps == mixed_steps(million, 1413) <= 2 * million < mixed_steps(million, 1412)
    assert found.peak_bundles == 1413
    found = tally(actions(million, mixed(180)), million)
    assert found.steps == mixed_steps(million, 180) <= 3 * million
    assert found.peak_bundles == 180
    found = tally(actions(million, uniform(1000)), million)
    assert found.steps == 2 * million - 1000
    assert found.peak_bundles == 1998


@given(
    st.integers(0, 400), st.integers(1, 60), st.integers(1, 60), st.integers(0, 1500), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_a_chosen_schedule_keeps_its_promises(
    num_windows: int, state: int, row: int, budget: int, is_large: bool
) -> None:
    """All windows, from the last to the first, within the bytes and the steps."""
    budget = max(budget, state)
    table, choice._LARGEST_TABLE = choice._LARGEST_TABLE, 0 if is_large else 5_000
    try:
        chosen = choose(num_windows, state, row, budget)
    finally:
        choice._LARGEST_TABLE = table
    found = tally(chosen.actions(), num_windows, state, row)
    assert found.steps <= chosen.steps
    assert found.peak_bytes <= budget
    if state == row or chosen.kind == "exact":
        assert found.steps == chosen.steps


def test_closed_forms_for_two_sizes_stay_near_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the table's size, at most a quarter more steps than the dynamic program would take."""
    monkeypatch.setattr(choice, "_LARGEST_TABLE", 0)
    for state, row, budget in ((1, 2, 20), (3, 7, 60), (100, 4096, 80_000), (10, 1, 40)):
        found = num_steps(140, choose(140, state, row, budget).split)
        least = ExactTable(140, state, row, budget).least(140)
        assert least is not None
        assert least <= found <= 1.25 * least


@given(st.integers(2, 12), st.integers(1, 300), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_thinned_states_reverse_a_stream_of_unknown_length(
    slots: int, num_windows: int, rows: int
) -> None:
    """States stay within their slots and near each other, and every window is handed over once."""
    placement = ThinPlacement(slots)
    forward: list[Action] = []
    position, t, dropped = 0, *placement.place()
    while t < num_windows:
        if t > position:
            forward.append(Action("advance", position, t))
        forward += [Action("drop", u, u) for u in dropped]
        forward.append(Action("save", t, t))
        position, (t, dropped) = t, placement.place()
    placement.kept.remove(t)
    if dropped:  # the state that did not come would have taken their place
        forward += [Action("drop", u, u) for u in dropped]
    forward.append(Action("advance", position, num_windows))
    gaps = [b - a for a, b in pairwise([*placement.kept, num_windows])]
    assert max(gaps) <= max(1, 2 * num_windows / (slots - 1))
    backward = placement.reversal(num_windows, mixed(slots + rows))
    found = tally([*forward, *backward], num_windows)
    assert found.peak_bundles <= slots + rows


def test_what_is_no_schedule_is_refused() -> None:
    """`tally` sees states that are not there, jumps, and windows that are left out."""
    good = list(actions(9, mixed(2)))
    assert tally(good, 9).steps == mixed_steps(9, 2)
    for broken in (good[1:], good[:-1], [a for a in good if a.kind != "restore"]):
        with pytest.raises(ValueError, match=r"not held|stands before|never|next"):
            tally(broken, 9)
    with pytest.raises(ValueError, match="at least 1"):
        uniform(0)
    with pytest.raises(ValueError, match="at least 2"):
        ThinPlacement(1)
    with pytest.raises(ValueError, match="counts"):
        choose(-1, 1, 1, 1)
    for function in (mixed_steps, binomial_steps):
        with pytest.raises(ValueError, match="without a state"):
            function(5, 0)

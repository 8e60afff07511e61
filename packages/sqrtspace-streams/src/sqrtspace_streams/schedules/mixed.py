"""Mixed: a slot holds a state or a row, whichever saves more steps; both have the same size.

A segment that is reversed while j states are held has a node in a binary tree: its front part is
reached by another pass (l passes so far: one more), its back part while one more state is held. A
leaf is a segment whose rows are kept: with s slots it has up to ``s - j + 1`` windows, which
cost ``l + 1`` steps each. To split a leaf makes room for ``s - j`` windows and costs
``(s - j + 1) + (l + 1)(s - j)`` steps, so the best tree is grown layer by layer in l, each from
j = 0 on, and its size and cost are sums of binomials. The dynamic program (`exact`) and a search
over all strategies find the same numbers. Mixed schedules: Maddison, arXiv 2305.09568 (2023).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from math import comb

from sqrtspace_streams.schedules.reversal import Split


def mixed_steps(num_windows: int, slots: int) -> int:
    """The fewest steps that reverse windows with ``slots`` states and rows held at once.

    Raises
    ------
    ValueError
        Without a slot, of several windows only the last could be reached.
    """
    if num_windows <= slots + 1:
        return num_windows
    tree = _tree(num_windows, slots)
    free, layer = slots - tree.column, tree.layer
    steps = slots + 1 + sum(_cost(slots, full, slots) for full in range(layer))
    steps += _cost(slots, layer, tree.column)
    steps += tree.nodes * (free + 1 + (layer + 1) * free)
    return steps - tree.shortage * (layer + 2)


def mixed(slots: int, *, group: int = 1) -> Split:
    """The split rule of `mixed_steps`, for groups of ``group`` windows in place of single ones.

    A group that is not full is the first one.
    """

    @lru_cache(maxsize=4096)
    def split(num_windows: int, num_saved: int) -> int:
        groups, free = -(-num_windows // group), slots - num_saved
        if groups <= free + 1:
            return 0
        return num_windows - (groups - _front(groups, free)) * group

    return split


@dataclass(frozen=True, slots=True)
class _Tree:
    """The best tree: nodes of whole layers are split, those before a column, and some of it."""

    layer: int
    column: int
    nodes: int
    """Of the column, how many are split."""
    shortage: int
    """Windows by which the tree is too large; the first leaf, the dearest, has fewer."""


def _tree(num_windows: int, slots: int) -> _Tree:
    if slots < 1:
        raise ValueError(f"{num_windows} windows cannot be reversed without a state to return to")
    layer, room = 0, slots + 1
    while (larger := room + _gain(slots, layer, slots)) < num_windows:
        layer, room = layer + 1, larger
    column = bisect_left(range(slots), num_windows, key=lambda k: room + _gain(slots, layer, k)) - 1
    room += _gain(slots, layer, column)
    free = slots - column
    nodes = -(-(num_windows - room) // free)
    return _Tree(layer, column, nodes, room + nodes * free - num_windows)


def _front(num_windows: int, slots: int) -> int:
    """Windows of the front part: the leaves of the left half of the tree."""
    tree = _tree(num_windows, slots)
    front = slots + 1 - tree.shortage
    if tree.layer:
        below = tree.layer - 1
        front += sum(_gain(slots, full, slots) for full in range(below))
        front += _gain(slots, below, tree.column)
        nodes = min(tree.nodes, comb(tree.column + below, below))
        front += nodes * (slots - tree.column)
    return front


def _gain(slots: int, layer: int, columns: int) -> int:
    """Windows for which the split nodes of a layer's first columns make room."""
    return slots * comb(columns + layer, layer + 1) - (layer + 1) * comb(columns + layer, layer + 2)


def _cost(slots: int, layer: int, columns: int) -> int:
    """Steps that they add."""
    return (layer + 2) * _gain(slots, layer, columns) + comb(columns + layer, layer + 1)

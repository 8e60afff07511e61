"""Which states to keep on the way while nobody knows how long the stream is."""

from __future__ import annotations

from collections.abc import Iterator

from sqrtspace_streams.schedules.reversal import Action, Split, actions


class ThinPlacement:
    """Multiples of a spacing that doubles, and every second state goes, when the slots are full.

    After T windows the states are at most ``2 T / (slots - 1)`` windows apart (1 while all fit).

    Parameters
    ----------
    slots : int
        States that are kept at most, at least 2.
    """

    def __init__(self, slots: int) -> None:
        if slots < 2:
            raise ValueError(f"slots={slots}: expected at least 2")
        self.slots, self.every = slots, 1
        self.kept: list[int] = []
        """The windows before which states are kept, in order."""

    def place(self) -> tuple[int, list[int]]:
        """The next window before which to save a state, and the states to drop for it."""
        dropped: list[int] = []
        if len(self.kept) == self.slots:
            dropped = self.kept[1::2]
            self.kept = self.kept[::2]
            self.every *= 2
        t = self.kept[-1] + self.every if self.kept else 0
        self.kept.append(t)
        return t, dropped

    def reversal(self, num_windows: int, split: Split) -> Iterator[Action]:
        """Reverse the stream once its end is known: gap by gap, from the last.

        Parameters
        ----------
        num_windows : int
        split : Split
            For the windows of a gap, while the states before it are held; that at its beginning
            is not counted, since it may be dropped.
        """
        end = num_windows
        for index in reversed(range(len(self.kept))):
            start = self.kept[index]
            if start < end:
                yield Action("restore", start, start)
                yield from _gap(start, end, index, split)
                end = start
            else:
                yield Action("drop", start, start)


def _gap(start: int, end: int, num_held: int, split: Split) -> Iterator[Action]:
    """Reverse the windows behind a state that is saved already."""
    is_dropped = False
    for action in actions(end - start, lambda n, saved: split(n, saved + num_held), first=start):
        if action == Action("save", start, start):
            continue
        if action == Action("drop", start, start):
            is_dropped = True
        if action.kind == "reverse" and action.start == start and not is_dropped:
            yield Action("drop", start, start)
        yield action

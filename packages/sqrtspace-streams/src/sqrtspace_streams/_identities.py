"""Numbers that tell objects apart, also from those that are gone."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from itertools import count
from typing import Any


class Identities:
    """A number for each object, which no other object ever gets; an address may come again.

    Objects are referenced weakly. The few kinds that cannot be are kept, the last ``held`` of
    them; an older one gets another number when it is asked for again.

    Parameters
    ----------
    held : int
    """

    def __init__(self, held: int = 256) -> None:
        self._limit = held
        self._count = count()
        self._weak: dict[int, tuple[weakref.ref[Any], int]] = {}  # by address
        self._held: OrderedDict[int, tuple[Any, int]] = OrderedDict()  # by address
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._weak) + len(self._held)

    def number(self, value: Any) -> int:
        """The number of an object."""
        key = id(value)
        with self._lock:
            if key in self._held:  # it lives, so that the address is its own
                self._held.move_to_end(key)
                return self._held[key][1]
            reference, number = self._weak.get(key, (None, 0))
            if reference is not None and reference() is value:
                return number
            number = next(self._count)
            try:  # the callback takes no lock: it may run at any allocation
                reference = weakref.ref(value, lambda _: self._weak.pop(key, None))
            except TypeError:
                self._held[key] = (value, number)
                if len(self._held) > self._limit:
                    self._held.popitem(last=False)
            else:
                self._weak[key] = (reference, number)
            return number

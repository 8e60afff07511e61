"""Parameters of any kind: which results are those of the same ones."""

from __future__ import annotations

import gc
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams._identities import Identities
from sqrtspace_streams.errors import ParameterError

SIGNAL = np.arange(400, dtype="float32")


class Slotted:
    """Cannot be referenced weakly."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value


class Total(Kernel):
    """The sum so far; its parameter is not looked at."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"y": 0.0}

    def step(self, x_block: Any, state: dict[str, Any], *, what: Any = None) -> Any:
        state["y"] += float(x_block[0, 0])
        return np.array([state["y"]]), state


def pipeline() -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.stage("applied")(lambda x, *, f: f(x[:, 0]))
    pipe.stage("times", vectorized=False)(lambda x, *, by: x * by.value)
    pipe.kernel("total")(Total)
    return pipe


def test_a_freed_object_is_not_taken_for_the_next_one() -> None:
    """Functions and other objects that stand at the address of an older one give their own rows."""
    pipe = pipeline()
    pipe.bind(SIGNAL)
    for factor in range(2, 12):
        rows = pipe.evaluate("applied", (1, 4), {"f": lambda v, k=factor: v * k})
        assert rows.tolist() == [4 * factor, 8 * factor, 12 * factor]
        rows = pipe.evaluate("times", (1, 2), {"by": Slotted(factor)})
        assert rows.tolist() == [[4 * factor, 5 * factor, 6 * factor, 7 * factor]]
        gc.collect()


def test_what_an_array_of_objects_holds_counts() -> None:
    """One that was changed in place is another parameter."""
    pipe, held = pipeline(), np.array([2, None], object)
    pipe.stage("held")(lambda x, *, by: x * by[0])
    pipe.bind(SIGNAL)
    first = pipe.evaluate("held", (1, 4), {"by": held})
    held[0] = 3
    assert pipe.evaluate("held", (1, 4), {"by": held}).tobytes() == (first * 1.5).tobytes()


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: np.ones(2, [("a", "f4"), ("b", "i4")]), np.ones(2, [("b", "f4"), ("a", "i4")])),
        (lambda: frozenset({"a", 1, (2.0, "b")}), frozenset({"a"})),
        (lambda: {"a": {1, 2}, "b": [None]}, {"a": {1}, "b": [None]}),
        (lambda: np.array([1, "a"], object), np.array([2, "a"], object)),
        (lambda: SIGNAL.sum, SIGNAL.mean),
    ],
)
def test_equal_parameters_are_the_same(make: Any, other: Any) -> None:
    """A pull goes on with one that is equal and new, and not with another one."""
    pipe = pipeline()
    pipe.push_samples(SIGNAL[:100])
    pipe.pull_until(5, "total", {"what": make()})
    pipe.pull_until(7, "total", {"what": make()})
    with pytest.raises(ParameterError, match="changed after window 7"):
        pipe.pull_until(8, "total", {"what": other})


@pytest.mark.parametrize("what", [Slotted(1.0), Decimal(3), print, Total()])
def test_one_object_stays_the_same(what: Any) -> None:
    """Whatever it is, a pull goes on with it, even after many others were asked with."""
    pipe = pipeline()
    pipe.push_samples(SIGNAL[:100])
    pipe.pull_until(5, "total", {"what": what})
    for i in range(20):
        pipe.pull_until(5, "applied", {"f": lambda v, k=i: v * k})
    assert len(pipe.pull_until(7, "total", {"what": what})) == 2


def test_numbers_of_objects_do_not_keep_them() -> None:
    """Those that can be referenced weakly are let go; of the others only the last ones stay."""
    identities = Identities(held=3)
    numbers = [identities.number(Total()) for _ in range(10)]
    numbers += [identities.number(Slotted(0.0)) for _ in range(10)]
    assert len(set(numbers)) == 20
    gc.collect()
    assert len(identities) == 3

"""A node of the graph: a pure stage or a kernel, with what is known of its function."""

from __future__ import annotations

import inspect
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from sqrtspace_streams.errors import GraphError

Pad = Literal["edge", "zero"]
INPUT = "input"  # the reserved name of the windows of the source


class Kernel(ABC):
    """An operator with state: filters, trackers, decoders.

    ``step`` is called for window 0, 1, 2... in order, with a block of one window, or of several
    where ``chunk_invariant`` is true. Keyword-only arguments of either method are parameters of
    the stage. With several inputs, ``x_block``, ``shape`` and ``dtype`` are tuples.
    """

    chunk_invariant: bool = False
    """Whether a block of n windows gives the very bits that n blocks of one window give."""

    @abstractmethod
    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        """Return the state before the first window.

        Parameters
        ----------
        shape : tuple of int
            Shape of one window of the input, without the leading axis.
        dtype : numpy.dtype
            Type of the input.
        """

    @abstractmethod
    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> tuple[Any, dict[str, Any]]:
        """Return the output for a block, with as many rows, and the state after it.

        ``x_block`` is read-only. ``state`` may be changed in place and returned.
        """


@dataclass(frozen=True)
class Keywords:
    """The keyword parameters that a function takes."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    takes_any: bool = False
    """Whether it has ``**kw``: it is then given all that its stage is given by name."""

    def __or__(self, other: Keywords) -> Keywords:
        required = self.required | other.required
        optional = (self.optional | other.optional) - required
        return Keywords(required, optional, self.takes_any or other.takes_any)

    def accepted(self, values: dict[str, Any]) -> dict[str, Any]:
        """The part of ``values`` that the function takes."""
        known = self.required | self.optional
        return {k: v for k, v in values.items() if self.takes_any or k in known}


@dataclass(frozen=True)
class Stage:
    """One node: its name, what it reads, and how it may be called."""

    name: str
    function: Callable[..., Any]
    """The function of a pure stage; the ``step`` of a kernel."""
    inputs: tuple[str, ...]
    keywords: Keywords
    kernel: Kernel | None = None
    batch_invariant: bool = False
    """Whether rows have the same bits in a call with any number of rows."""
    vectorized: bool = True
    """Whether it is called with a block of windows, or with one window without leading axis."""
    context: tuple[int, int] = (0, 0)
    """Windows before and after a block that it is given as well."""
    pad: Pad = "edge"
    """What stands for windows before the first and after the last."""
    check: bool = True
    """Whether its purity is tried on the first windows."""
    is_reverse: bool = False
    """Whether it is a kernel that steps from the last window to the first."""
    takes_arrays: bool = False
    """Whether it is given NumPy arrays by every backend."""

    @property
    def wants_rng(self) -> bool:
        """Whether it asks for a random generator."""
        return "rng" in self.keywords.required | self.keywords.optional


def pure_stage(
    name: str,
    function: Callable[..., Any],
    inputs: list[str] | None,
    **options: Any,
) -> Stage:
    """A node from a function; its signature is checked against its inputs."""
    _check_name(name)
    sources = _checked_inputs(name, inputs)
    options["context"] = _checked_context(name, options.get("context", (0, 0)))
    stage = Stage(name, function, sources, keywords_of(name, function, len(sources)), **options)
    if stage.pad not in get_args(Pad):
        raise GraphError(f"stage {name!r}: pad={stage.pad!r}: expected one of {get_args(Pad)}")
    if stage.wants_rng and stage.vectorized:
        raise GraphError(
            f"stage {name!r} asks for rng: random numbers belong to one window, so declare it "
            "with vectorized=False"
        )
    return stage


def kernel_stage(
    name: str, kernel: Kernel, inputs: list[str] | None, *, is_reverse: bool = False
) -> Stage:
    """A node from a kernel."""
    _check_name(name)
    sources = _checked_inputs(name, inputs)
    keywords = keywords_of(name, kernel.step, 2) | keywords_of(name, kernel.init_state, 2)
    return Stage(name, kernel.step, sources, keywords, kernel=kernel, is_reverse=is_reverse)


def keywords_of(name: str, function: Callable[..., Any], num_arrays: int) -> Keywords:
    """The keyword-only parameters of a function that takes ``num_arrays`` arrays."""
    if isinstance(function, np.ufunc):  # whose signature has `out` as a positional one
        _check_arrays(name, num_arrays, function.nin)
        return Keywords()
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without signature
        return Keywords()
    arrays = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(arrays) > num_arrays or not variadic:
        _check_arrays(name, num_arrays, len(arrays))
    keyword_only = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return Keywords(
        frozenset(p.name for p in keyword_only if p.default is p.empty),
        frozenset(p.name for p in keyword_only if p.default is not p.empty),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _check_arrays(name: str, num_inputs: int, num_taken: int) -> None:
    if num_taken != num_inputs:
        raise GraphError(
            f"stage {name!r} takes {num_taken} positional arguments but has {num_inputs} "
            "inputs: one array per input, and parameters after a `*`"
        )


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise GraphError(f"{name!r} cannot name a stage: expected a string without dots")
    if name == INPUT:
        raise GraphError(f"{INPUT!r} is the name of the source: choose another for the stage")


def _checked_context(name: str, context: Any) -> tuple[int, int]:
    try:
        left, right = map(operator.index, context)
    except (TypeError, ValueError):
        left = right = -1
    if left < 0 or right < 0:
        raise GraphError(f"stage {name!r}: context={context!r}: expected two counts >= 0")
    return left, right


def _checked_inputs(name: str, inputs: list[str] | None) -> tuple[str, ...]:
    sources = (INPUT,) if inputs is None else tuple(inputs)
    if isinstance(inputs, str) or not sources or not all(isinstance(s, str) for s in sources):
        raise GraphError(f"stage {name!r}: inputs={inputs!r}: expected a list of stage names")
    return sources

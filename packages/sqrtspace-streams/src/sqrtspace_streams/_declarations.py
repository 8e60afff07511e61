"""How stages and kernels get into the graph of a pipeline: the decorators."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqrtspace_streams._graph import Graph
from sqrtspace_streams._stage import Kernel, Pad, kernel_stage, pure_stage

F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound="type[Kernel] | Kernel")


class Declarations:
    """The stages of a pipeline, by name."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._untried: set[str] = set()  # stages whose purity has not been tried
        self._lock = threading.RLock()

    def stage(
        self,
        name: str,
        inputs: list[str] | None = None,
        pure: bool = True,
        *,
        batch_invariant: bool = False,
        vectorized: bool = True,
        context: tuple[int, int] = (0, 0),
        pad: Pad = "edge",
        check: bool = True,
    ) -> Callable[[F], F]:
        """Register the decorated function as a stage; it is returned unchanged.

        Parameters
        ----------
        name : str
        inputs : list of str, optional
            What it reads, in the order of its positional arguments; ``["input"]``, the windows of
            the source, by default. Stages may be registered later.
        pure : bool
            False for a `Kernel` class, which then is registered as by `kernel`.
        batch_invariant : bool
            Whether a row has the same bits in a call with any number of rows, as it has for
            element-wise functions and FFTs but not for matrix products. Such a stage is called
            with whole tiles, others with blocks of ``block_rows``.
        vectorized : bool
            False for a function of one window, without leading axis.
        context : (int, int)
            Windows before and after each block that are given to it as well: n rows of output are
            computed from ``left + n + right`` rows.
        pad : {"edge", "zero"}
            What stands for windows before the first and after the last.
        check : bool
            Whether to try, on the first windows, that the stage is pure and does not mix windows.

        Raises
        ------
        GraphError
            For a name that is taken, a cycle, or a signature that does not fit.
        """

        def register(function: F) -> F:
            if not pure:
                if not (isinstance(function, type) and issubclass(function, Kernel)):
                    raise TypeError(
                        f"stage {name!r} with pure=False has state: write it as a Kernel class"
                    )
                return self.kernel(name, inputs)(function)
            stage = pure_stage(
                name,
                function,
                inputs,
                batch_invariant=batch_invariant,
                vectorized=vectorized,
                context=context,
                pad=pad,
                check=check,
            )
            with self._lock:
                self.graph.add(stage)
                self._untried.add(name)
            return function

        return register

    def kernel(self, name: str, inputs: list[str] | None = None, **init: Any) -> Callable[[K], K]:
        """Register the decorated `Kernel` class, made with ``init``, or the given instance."""
        return self._registers_kernel(name, inputs, init, is_reverse=False)

    def reverse_kernel(
        self, name: str, inputs: list[str] | None = None, **init: Any
    ) -> Callable[[K], K]:
        """Register a `Kernel` that steps from the last window to the first.

        It is written like any other kernel: ``init_state`` gives the state behind the last window,
        and blocks have the later window first. It may read the input, forward stages and kernels,
        whose past is computed again from states as far as memory does not hold it, and other
        reverse kernels. Pure stages may read it; forward kernels may not. `evaluate` and
        `blocks_reversed` answer for it.

        Raises
        ------
        GraphError
            For a name that is taken, a cycle, or a signature that does not fit.
        """
        return self._registers_kernel(name, inputs, init, is_reverse=True)

    def _registers_kernel(
        self, name: str, inputs: list[str] | None, init: dict[str, Any], *, is_reverse: bool
    ) -> Callable[[K], K]:
        def register(kernel: K) -> K:
            instance = kernel(**init) if isinstance(kernel, type) else kernel
            if not isinstance(instance, Kernel):
                raise TypeError(f"{kernel!r} is no Kernel: derive it from sqrtspace_streams.Kernel")
            with self._lock:
                self.graph.add(kernel_stage(name, instance, inputs, is_reverse=is_reverse))
            return kernel

        return register

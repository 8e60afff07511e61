"""Progress bars for what takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook


def progress_bar(total: int | None, description: str, *, verbose: bool) -> Any:
    """A bar that counts samples; silent unless ``verbose`` and somebody watches.

    Returns
    -------
    tqdm
        To be used as a context manager.
    """
    watched = sys.stderr.isatty() or issubclass(tqdm, tqdm_notebook)
    return tqdm(
        total=total,
        unit=" samples",
        desc=description,
        delay=0.3,
        disable=not (verbose and watched),
    )


def advance_to(bar: Any) -> Callable[[int, int], None]:
    """``progress(done, total)`` of builds and derivations, shown by a bar."""

    def progress(done: int, total: int) -> None:
        del total
        bar.update(done - bar.n)

    return progress

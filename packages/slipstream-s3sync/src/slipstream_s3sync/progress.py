"""The progress bar of transfers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook


@contextmanager
def byte_bar(total: int, description: str, *, verbose: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts bytes, with rate and time left, where somebody watches.

    Parameters
    ----------
    total : int
        Bytes in all.
    description : str
        Of what is done.
    verbose : bool
        Whether to show it, on a terminal or in a notebook, and on rank 0.
    """
    watched = sys.stderr.isatty() or issubclass(tqdm, tqdm_notebook)
    shown = verbose and watched and os.environ.get("RANK", "0") == "0"
    lock = threading.Lock()
    with tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        desc=description,
        delay=0.3,
        disable=not shown,
    ) as bar:

        def count(num_bytes: int) -> None:
            with lock:
                bar.update(num_bytes)

        yield count

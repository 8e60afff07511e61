"""Random pipelines, evaluated in every way there is, against an answer made without the engine.

Each draw has its own graph, window, hop, signal, tile, checkpoint spacing, slots, LRU size, number
of threads and way of asking (whole, in random ranges, block by block, pushed and pulled in random
pieces, from an iterator). Bytes have to be equal. A draw that fails prints its seed.

    python bench/campaign_equality.py --draws 10000
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings

from tqdm import tqdm

from sqrtspace_streams.testing import try_draw


def main() -> int:
    """Exit code 1 if any draw differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    began, failed, windows = time.perf_counter(), [], 0
    for seed in tqdm(range(arguments.first, arguments.first + arguments.draws), disable=None):
        try:
            windows += try_draw(seed)
        except Exception:
            failed.append(seed)
            logging.exception("seed %d", seed)
            if len(failed) == 5:
                break
    seconds = time.perf_counter() - began
    print(
        f"{arguments.draws} draws from seed {arguments.first}, {windows} windows compared, "
        f"{len(failed)} failed {failed}, {seconds:.0f} s"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

"""The bench matrix of the logs demonstration: ``sqrtspace bench logs``, from a checkout.

python bench/bench_logs.py --quick
"""

from __future__ import annotations

import sys

from sqrtspace_streams.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "logs", *sys.argv[1:]]))

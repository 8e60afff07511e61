"""The bench matrix of the audio demonstration: ``sqrtspace bench audio``, from a checkout.

python bench/bench_audio.py --quick
"""

from __future__ import annotations

import sys

from sqrtspace_streams.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "audio", *sys.argv[1:]]))

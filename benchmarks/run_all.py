"""All benchmarks one after another, gathered in one JSON file for this machine.

    uv run python benchmarks/run_all.py PHOTOS [--cache-dir DIR] [--peers ENVIRONMENT/bin/python]
        [--only NAME...] [--quick]

Each is a process of its own. What they print is shown, and what they write is gathered in
``benchmarks/results/<host>.json``, with the machine, the commit and the time. Beside it lies a page
of tables and plots, ``<host>.html``.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from page import page

from slipstream_loader.machine import machine_info

HERE = Path(__file__).parent
RESULTS = HERE / "results"
JPEG = HERE.parent / "packages" / "slipstream-decoders" / "benchmarks" / "benchmark_jpeg.py"


def commands(options: argparse.Namespace) -> dict[str, list[Any]]:
    """Name -> command of each benchmark; those that write JSON get a file's name after it."""
    work = ["--cache-dir", options.cache_dir] if options.cache_dir else []
    peers = ["--peers", options.peers] if options.peers else []
    few = ["--rounds", 2] if options.quick else []
    limit = ["--limit", 100] if options.quick else []
    photos = options.photos
    found: dict[str, list[Any]] = {
        "raw_io": [HERE / "benchmark_raw_io.py", photos, *work, *few],
        "decode": [HERE / "benchmark_decode.py", photos, *work, *peers, *few, *limit],
        "loader": [HERE / "benchmark_loader.py", photos, *few],
        "threads": [HERE / "benchmark_threads.py", photos, *work, *few, *limit],
        "growth": [HERE / "benchmark_growth.py", *few],
        "start": [HERE / "benchmark_start.py", photos, *work, *few],
    }
    for quality in (0, 90):
        name = f"jpeg engine, {'as they are' if quality == 0 else f'q{quality}'}"
        found[name] = [JPEG, "--photos", photos, "--quality", quality, *few]
    return found


def run(name: str, command: list[Any]) -> dict[str, Any]:
    """Run one benchmark and return what it wrote.

    Raises
    ------
    CalledProcessError
        If it failed; what it printed was shown.
    """
    print(f"\n== {name}", flush=True)
    full = [sys.executable, *map(str, command)]
    if command[0] == JPEG:  # it writes JSON to its output
        text = subprocess.run(full, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(text)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figures.json"
            subprocess.run([*full, "--json", str(path)], check=True)
            text = path.read_text(encoding="utf-8")
    figures: dict[str, Any] = json.loads(text)
    return figures


def main() -> None:
    """Parse the arguments, run, and write the results of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--cache-dir", type=Path, help="the drive to measure")
    parser.add_argument("--peers", type=Path, help="Python of an environment with other loaders")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="such as raw_io, decode")
    parser.add_argument("--quick", action="store_true", help="few rounds: does everything run?")
    options = parser.parse_args()
    chosen = commands(options)
    if options.only:
        unknown = [name for name in options.only if name not in chosen]
        if unknown:
            parser.error(f"no benchmark {unknown}; there are {', '.join(chosen)}")
        chosen = {name: chosen[name] for name in options.only}
    results = {name: run(name, command) for name, command in chosen.items()}
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    figures = {
        "machine": machine_info(),
        "commit": subprocess.run(git, capture_output=True, text=True).stdout.strip() or None,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "results": results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{socket.gethostname()}.json"
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(page(figures), encoding="utf-8")
    print(f"\n{path}\n{path.with_suffix('.html')}")


if __name__ == "__main__":
    main()

"""Tests and benchmarks on a machine with a GPU, by one command, without a network.

    python benchmarks/gpu/run.py [--wheels DIR] [--photos DIR] [--out DIR] [--quick]

The Python that runs it has torch, numba and the other dependencies; this repository is used as it
is, and the wheels of a folder are unpacked beside it: nvImageCodec's and nvJPEG's. Bring them with

    python benchmarks/gpu/run.py --fetch DIR

on a machine with a network. Leaves ``gpu.json`` and ``gpu.md`` in ``--out``. With ``--device cpu``
everything runs without a GPU, for a try.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WHEELS = ("nvidia-nvimgcodec-cu12", "nvidia-nvjpeg-cu12")
NVIDIA = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
"""``nvidia/__init__.py`` beside the unpacked wheels: other distributions have parts of it too."""

TRY = ["A try on the CPU: engines ran their stand-ins, and no figure says anything of a GPU.", ""]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--wheels", type=Path, default=HERE / "wheels", help="wheels to unpack")
    parser.add_argument("--fetch", type=Path, help="download the wheels to this folder, and end")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; default: generated ones")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, help="default: the CPUs of this process")
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--only", choices=("tests", "benchmarks"))
    return parser.parse_args()


def fetch(folder: Path) -> None:
    """Download the wheels for Python 3.12 on 64-bit Linux."""
    platforms = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
    chosen = [part for name in platforms for part in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", *chosen, "-d", str(folder)]
    subprocess.run([*command, *WHEELS], check=True)


def unpack(wheels: Path, site: Path) -> list[str]:
    """Unpack wheels to a folder for ``PYTHONPATH``; their names."""
    found = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    if found:
        (site / "nvidia").mkdir(exist_ok=True)
        (site / "nvidia" / "__init__.py").write_text(NVIDIA, encoding="utf-8")
    return [wheel.name for wheel in found]


def gpu_tests() -> list[str]:
    """The test files that have something to do with GPUs: those with the marker ``gpu``."""
    files = sorted(ROOT.glob("packages/*/tests/test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "mark.gpu" in path.read_text("utf-8")]


def environment(site: Path, device: str) -> dict[str, str]:
    """Where children find our sources and the wheels."""
    sources = [str(path) for path in sorted(ROOT.glob("packages/*/src"))]
    paths = [str(site), *sources, str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return found if device == "cuda" else {**found, "CUDA_VISIBLE_DEVICES": ""}


def run_tests(env: dict[str, str], out: Path) -> dict[str, Any]:
    """The tests' result, what failed, and what was skipped for which reason."""
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *gpu_tests()]
    command += ["-o", "addopts=--import-mode=importlib --strict-markers", "--durations=10"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    (out / "tests.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    print(done.stdout[-3000:])
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    skipped: Counter[str] = Counter()
    for number, why in re.findall(r"^SKIPPED \[(\d+)\] \S+ (.*)$", done.stdout, re.MULTILINE):
        skipped[why] += int(number)
    return {
        "exit_status": done.returncode,
        "summary": lines[-1:],
        "failed": failed,
        "skipped": dict(skipped),
    }


def run_benchmarks(options: argparse.Namespace, env: dict[str, str]) -> dict[str, Any]:
    """What ``measure.py`` found, or what went wrong."""
    path = options.out / "measured.json"
    command = [sys.executable, str(HERE / "measure.py"), "--device", options.device]
    command += ["--batch-size", str(options.batch_size), "--json", str(path)]
    command += ["--threads", str(options.threads)] if options.threads else []
    command += ["--photos", str(options.photos.resolve())] if options.photos else []
    command += ["--quick"] if options.quick else []
    done = subprocess.run(command, cwd=options.out, env=env, check=False)
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {"exit_status": done.returncode, **found}


def table(results: dict[str, Any]) -> str:
    """The figures as people read them."""
    machine, found = results.get("machine", {}), results.get("benchmarks", {})
    tests = results.get("tests", {})
    lines = [
        f"# {machine.get('cuda') or 'no GPU'}, {machine.get('cpus')} CPUs",
        "",
        f"Tests: {' '.join(tests.get('summary', ['not run']))}",
        *(f"- {number} skipped: {why}" for why, number in tests.get("skipped", {}).items()),
        "",
        *(TRY if found.get("device") == "cpu" else []),
        f"Images: {found.get('images')}; batch {found.get('batch_size')}; "
        f"{found.get('threads')} threads; {found.get('rounds')} rounds.",
        "",
        "| work | images/s median | smallest to largest | CPU ms/image | GPU busy |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in found.get("results", []):
        rates, busy = row["images_per_second"], row["gpu_busy"]
        lines.append(
            f"| {row['work']} | {row['median']:,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {1000 * row['cpu_seconds_per_image']:.3f} "
            f"| {'' if busy is None else f'{busy:.0f} %'} |"
        )
    lines += ["", "| alone | images/s |", "|---|---:|"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in found.get("bounds", {}).items()]
    lines += [f"\nLeft out: {name}: {why}" for name, why in found.get("left_out", {}).items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Unpack, test, measure, write."""
    options = arguments()
    if options.fetch:
        fetch(options.fetch)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    options.out = options.out.resolve()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        results["wheels"] = unpack(options.wheels, Path(directory))
        env = environment(Path(directory), options.device)
        if options.only != "benchmarks":
            results["tests"] = run_tests(env, options.out)
        if options.only != "tests":
            results["benchmarks"] = run_benchmarks(options, env)
            results["machine"] = results["benchmarks"].pop("machine", {})
    text = json.dumps(results, indent=1) + "\n"
    (options.out / "gpu.json").write_text(text, encoding="utf-8")
    (options.out / "gpu.md").write_text(table(results), encoding="utf-8")
    print(table(results))
    parts = [results.get(name, {}).get("exit_status", 0) for name in ("tests", "benchmarks")]
    sys.exit(int(any(parts)))


if __name__ == "__main__":
    main()

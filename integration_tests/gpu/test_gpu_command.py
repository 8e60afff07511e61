"""The command for a GPU machine, tried on the CPU: what it runs, what it leaves out and why."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "benchmarks" / "gpu" / "run.py"


@pytest.mark.timeout(280)
@pytest.mark.slow
def test_a_try_without_a_gpu_leaves_figures_and_reasons(tmp_path: Path) -> None:
    """Both files are there; what needs a device or a package is left out, each with its reason."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((96, 80))
        pixels.save(photos / f"{number}.jpg", quality=90)
    command = [sys.executable, COMMAND, "--device", "cpu", "--quick", "--only", "benchmarks"]
    command += ["--batch-size", "2", "--threads", "1", "--photos", photos, "--out", out]
    run = subprocess.run(command, capture_output=True, text=True, timeout=270, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((out / "gpu.json").read_text("utf-8"))["benchmarks"]
    table = (out / "gpu.md").read_text("utf-8")
    measured = {row["work"] for row in found["results"]}
    assert {"decode only, CPU", "RRC-224, jpeg, planes", "SimCLR, jpeg, cpu"} <= measured
    left_out = found["left_out"]
    assert not measured & left_out.keys()
    assert left_out["jpeg: copy of planes to the device"] == "needs a CUDA device"
    assert left_out["jpeg: resize of regions by CV-CUDA, bytes"] == "needs a CUDA device"
    if find_spec("nvidia.dali") is None:
        assert "not carried" in left_out["RRC-224, jpeg, DALI"]
    for name, reason in left_out.items():
        assert f"Left out: {name}: {reason}" in table
    assert all(f"| {work} |" in table for work in measured)
    assert "A try on the CPU" in table


def test_every_test_with_the_marker_is_run() -> None:
    """pytest itself finds no test with the marker ``gpu`` in a file that the command leaves out."""
    code = "import run; print(*run.gpu_tests(), sep='\\n')"
    listed = subprocess.run(
        [sys.executable, "-c", code], cwd=COMMAND.parent, capture_output=True, text=True, check=True
    ).stdout.split()
    marked = [
        path
        for folder in ("packages", "integration_tests", "docs", "tools")
        for path in sorted((ROOT / folder).rglob("test_*.py"))
        if path != Path(__file__) and "mark.gpu" in path.read_text("utf-8")
    ]
    assert marked == [ROOT / name for name in listed]
    assert any("sqrtspace" in name for name in listed)
    assert any("ssl-pipelines" in name for name in listed)

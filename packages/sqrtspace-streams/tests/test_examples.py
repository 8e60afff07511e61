"""The notebooks run from top to bottom, and the script makes their data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["audio_demo", "logs_demo", "ml_preproc_demo"])
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    """Its cells, in order, in a fresh process; its assertions hold, and no outputs are kept."""
    if name.startswith("ml"):
        pytest.importorskip("torch")
    cells = json.loads((EXAMPLES / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    script = "\n".join("".join(cell["source"]) for cell in code)
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("\n") >= 4


def test_the_script_makes_small_data(tmp_path: Path) -> None:
    """Three files of less than 10 MB."""
    script = tmp_path / "make.py"
    script.write_text((EXAMPLES / "data" / "make.py").read_text("utf-8"), "utf-8")
    subprocess.run([sys.executable, str(script)], check=True)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path != script}
    assert set(sizes) == {"recording.npy", "access.log", "images.npy"}
    assert 0 < min(sizes.values()) <= max(sizes.values()) < 10_000_000


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("zero_phase_recording", ["--megabytes", "8", "--budget-megabytes", "1"], "filtfilt"),
        ("alert_that_rewinds", ["--windows", "2000"], "computed again"),
    ],
)
def test_a_script_runs(name: str, options: list[str], last: str, tmp_path: Path) -> None:
    """Small, in a fresh process; its assertions hold."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert last in run.stdout.splitlines()[-1]

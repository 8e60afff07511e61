"""The notebooks run from top to bottom on images that they make themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

pytestmark = pytest.mark.timeout(280)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    """In a fresh process, each cell's last expression evaluated like the others; warnings fail."""
    cells = [
        "".join(cell["source"])
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(cells)],
        cwd=tmp_path,
        env={**os.environ, "SLIPSTREAM_CACHE_DIR": str(tmp_path / "caches")},
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout


def test_notebooks_are_stored_without_their_results() -> None:
    """Outputs are made where the notebook is run; in git they would be noise."""
    assert len(NOTEBOOKS) >= 2
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), notebook.name
            assert cell.get("execution_count") is None, notebook.name

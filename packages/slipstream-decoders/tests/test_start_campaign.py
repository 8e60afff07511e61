"""The campaign of processes that start at once on an empty kernel cache, with a few of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "benchmarks" / "campaign_start.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(280),
    pytest.mark.skipif(not CAMPAIGN.is_file(), reason="the campaign is not in this distribution"),
]


def test_processes_that_compile_at_once_are_all_right() -> None:
    """Each gives NumPy's answer, whether it compiled, wrote, or read what another was writing."""
    command = [sys.executable, str(CAMPAIGN), "--processes", "4", "--delay", "4"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=260, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert result["is_right"]
    assert list(result["answers"].values()) == [8]

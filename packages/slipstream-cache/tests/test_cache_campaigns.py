"""The campaigns of the benchmarks folder, in a few runs each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS = Path(__file__).parents[1] / "benchmarks"

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and SIGKILL"),
    pytest.mark.skipif(not CAMPAIGNS.is_dir(), reason="the campaigns are not in this distribution"),
]


@pytest.mark.parametrize(("script", "runs"), [("campaign_kill.py", 6), ("campaign_builders.py", 3)])
def test_disturbed_builds_end_with_the_same_bytes(script: str, runs: int) -> None:
    """Builders that are killed, or build at once without a lock, never leave another cache."""
    command = [sys.executable, str(CAMPAIGNS / script), "--runs", str(runs), "--samples", "200"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["equal"]
    assert result["runs"] == runs

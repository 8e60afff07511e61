"""The campaigns of ``benchmarks/campaigns``, each in a few runs: at length they are commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CAMPAIGNS = Path(__file__).parents[2] / "benchmarks" / "campaigns"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(290),
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and SIGKILL"),
]


def campaign(script: str, *options: object) -> dict[str, Any]:
    """Run a campaign that must find nothing; what it tells."""
    command = [sys.executable, CAMPAIGNS / script, *map(str, options)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout)
    assert not found.get("failures")
    return found


def test_damaged_files_give_clear_errors_or_right_data() -> None:
    """Whatever file of a cache has other bytes."""
    found = campaign("mutated_caches.py", "--runs", 12, "--workers", 1)
    assert sum(found["outcomes"].values()) == 12
    assert len(found["outcomes"]) > 2


def test_disks_without_space_and_files_of_others() -> None:
    """Clear errors, nothing half made, and the right bytes once there is space."""
    found = campaign("full_disks.py", "--runs", 5, "--space", "limit")
    assert len(found["outcomes"]) == 5
    assert any("CacheWriteError" in outcome for outcome in found["outcomes"])


def test_killed_trainings_are_resumed_exactly() -> None:
    """On one to three ranks, each sample once an epoch."""
    assert sum(campaign("kill_training.py", "--runs", 2)["kills"].values()) >= 2


def test_killed_uploads_and_downloads_never_show_half_a_cache() -> None:
    """And the next ones end with all of it."""
    outcomes = campaign("kill_sync.py", "--runs", 1)["outcomes"]
    assert sum(outcomes.values()) >= 2


def test_processes_that_want_one_cache_at_once() -> None:
    """One builds, all see the same."""
    found = campaign("openers.py", "--processes", 3, "--samples", 40)
    assert found["is_right"]
    assert found["reads of each sample"] < 1.5


def test_random_operations_leave_nothing_behind() -> None:
    """No thread, no descriptor, no memory that grows."""
    found = campaign("soak.py", "--seconds", 12, "--measurements", 6)
    assert sum(found["operations"].values()) > 6
    assert len(found["epochs"]["private_megabytes"]) == 50


def test_damaged_sources_give_clear_errors_or_data() -> None:
    """An archive and a table with other bytes are read, or refused."""
    found = campaign("mutated_sources.py", "--runs", 3, "--kinds", "tar.gz", "parquet")
    assert [sum(outcomes.values()) for outcomes in found["outcomes"].values()] == [3, 3]

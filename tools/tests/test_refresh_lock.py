"""The record of versions: what is written from a resolution, and that both files agree."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "tools" / "refresh_lock.py"))
EXPORTED = """\
one==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
two==2.0 ; python_full_version < '3.11' \\
    --hash=sha256:cc
two==2.1rc1 ; python_full_version >= '3.11'
only-there==3 ; sys_platform == 'win32' \\
    --hash=sha256:dd
"""


def test_constraints_of_an_export() -> None:
    """A package with one version is pinned everywhere, one with several by their markers."""
    assert SCRIPT["constraints"](EXPORTED) == [
        "one==1.0",
        "two==2.0 ; python_full_version < '3.11'",
        "two==2.1rc1 ; python_full_version >= '3.11'",
        "only-there==3",
    ]


def test_constraints_are_written_in_place() -> None:
    """Only the list of constraints changes; a project without one is refused."""
    project = '[tool.uv]\nconstraint-dependencies = [\n    "one==0.9",\n]\n\n[tool.x]\ny = [1]\n'
    written = SCRIPT["with_constraints"](project, ["one==1.0", "two==2.0"])
    assert written == project.replace('    "one==0.9",\n', '    "one==1.0",\n    "two==2.0",\n')
    with pytest.raises(SystemExit, match="expected one"):
        SCRIPT["with_constraints"]("[tool.uv]\n", [])


def test_both_records_hold_one_resolution() -> None:
    """``requirements.lock`` and the constraints of the workspace name the same versions."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    lines = SCRIPT["constraints"]((ROOT / "requirements.lock").read_text("utf-8"))
    assert len(lines) > 20
    assert SCRIPT["with_constraints"](project, lines) == project

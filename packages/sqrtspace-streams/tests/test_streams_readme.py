"""The README of the package, and that of its tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_code_of_the_readme_runs() -> None:
    """Its example runs as written, and its own assertion holds."""
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("sqrt ")


def test_the_tests_that_are_named_exist() -> None:
    """Each promise in the table has a test, under the name that the table gives."""
    folder = Path(__file__).parent
    rows = re.findall(
        r"^\| (?!promise|---|\*\*)(.*)\|$", (folder / "README.md").read_text("utf-8"), re.M
    )
    defined = {
        name
        for path in folder.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(rows) > 30
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= defined, set(named) - defined

"""The README of the package."""

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

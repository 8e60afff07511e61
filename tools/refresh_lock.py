"""Resolve the workspace anew and record the versions in git, without any address.

``uv.lock`` stays out of git, since it holds download addresses. Instead one resolution is written
to two files: ``requirements.lock`` (versions and hashes) and ``constraint-dependencies`` in
``pyproject.toml``, from which ``uv`` makes the same ``uv.lock`` again on another machine.

Run it from anywhere: ``python tools/refresh_lock.py``. It needs the package index.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
RECORD = ROOT / "requirements.lock"
EXPORT = (
    "export --locked --quiet --all-packages --all-extras --all-groups --no-emit-workspace "
    "--no-header --no-annotate"
)
CONSTRAINTS = re.compile(r"^constraint-dependencies = \[.*?\]$", re.MULTILINE | re.DOTALL)


def uv(arguments: str) -> str:
    """Standard output of uv in the root of the workspace."""
    command = [os.environ.get("UV", "uv"), *arguments.split()]  # ``uv run`` says where it is
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def constraints(exported: str) -> list[str]:
    """Exact versions of an export; with the marker where a package has several versions."""
    pinned = re.findall(
        r"^([a-z0-9][\w.-]*)(==[^\s;]+)(?: ; ([^\\\n]+?))?(?: \\)?$", exported, re.M
    )
    times = Counter(name for name, _, _ in pinned)
    return [
        f"{name}{version} ; {marker}" if times[name] > 1 else f"{name}{version}"
        for name, version, marker in pinned
    ]


def with_constraints(project: str, lines: list[str]) -> str:
    """The text of ``pyproject.toml`` with other constraints."""
    block = "".join(f'    "{line}",\n' for line in lines)
    text, count = CONSTRAINTS.subn(lambda _: f"constraint-dependencies = [\n{block}]", project)
    if count != 1:
        raise SystemExit(f"{PROJECT}: expected one constraint-dependencies, found {count}")
    return text


def main() -> None:
    """Resolve without constraints, write both records, and resolve again from them."""
    before = PROJECT.read_text("utf-8")
    try:
        PROJECT.write_text(with_constraints(before, []), "utf-8")
        uv("lock --upgrade")
        exported = uv(EXPORT)
        PROJECT.write_text(with_constraints(before, constraints(exported)), "utf-8")
        (ROOT / "uv.lock").unlink()
        uv("lock")
        if uv(EXPORT) != exported:
            raise SystemExit("the constraints do not lead to the same versions")
    except BaseException:
        PROJECT.write_text(before, "utf-8")
        raise
    RECORD.write_text(exported, "utf-8")


if __name__ == "__main__":
    main()

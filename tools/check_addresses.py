"""No file in git names a package index, a download address of one, or somebody's home directory.

Addresses of indexes differ from machine to machine, so they belong in the configuration of a
machine. The patterns are put together here so that this file passes its own check.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from source_tree import run

DOT = r"\."
PATTERNS = {
    "address of a package index": (
        r"https?://[^\s\"'<>]+/simple\b",
        DOT.join((r"\bpypi", r"(?:org|python)\b")),
        "python" + f"hosted{DOT}",
        DOT.join((r"\bdownload", "pytorch", r"org\b")),
        DOT.join((r"\b(?:deb|security|archive|ports)", r"(?:debian|ubuntu)", r"(?:org|com)\b")),
        DOT.join(("registry", "npm" + "js", "org")),
        DOT.join((r"\b(?:conda|repo)", "anaconda", r"(?:org|com)\b")),
    ),
    "address in a file of versions": (r"^(?:-i|--(?:extra-)?index-url|--find-links)\b",),
    "home directory": (
        r"(?<![\w.~*/-])/(?:home|Users)/\w",
        r"(?<![\w.~*/-])/" + r"root/",
        r"\b[A-Z]:\\+Users\\",
    ),
}


def files_in_git(root: Path) -> list[str]:
    """Paths, relative to the root, of files in git or about to be added."""
    command = ["git", "-C", str(root), "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return listed.rstrip("\0").split("\0")


def check(root: Path) -> Iterator[str]:
    """One line for each line of a text file that holds such an address."""
    kinds = {kind: re.compile("|".join(patterns)) for kind, patterns in PATTERNS.items()}
    if len(root.parts) > 2:
        kinds["path of this checkout"] = re.compile(re.escape(str(root)))
    for name in sorted(files_in_git(root)):
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            for kind, pattern in kinds.items():
                if pattern.search(line):
                    yield f"{name}:{number}: {kind}: {line.strip()[:100]}"


if __name__ == "__main__":
    run(check)

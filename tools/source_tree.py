"""What the checks share: finding our packages, parsing their modules, reporting."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def import_packages(root: Path) -> list[Path]:
    """Folders of modules at the top of each member's ``src``, such as ``packages/x/src/x``."""
    found = sorted(path for path in root.glob("packages/*/src/*") if any(path.rglob("*.py")))
    if not found:
        raise SystemExit(f"{root}: no packages/*/src/* here; pass the root of the repository")
    return found


def modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Each Python file under a folder with its syntax tree, in the order of the paths."""
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"), str(path))


def run(check: Callable[[Path], Iterable[str]]) -> None:
    """Print the problems that a check finds in ROOT (argument 1, or here); exit 1 if any."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    problems = list(check(root))
    print(*problems, f"{Path(sys.argv[0]).name}: {len(problems)} problems", sep="\n")
    sys.exit(bool(problems))

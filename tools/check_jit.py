"""numba has one door: ``_jit.kernel``.

``numba`` and ``llvmlite`` are imported only by ``_jit.py`` and by modules under ``_kernels/``,
and only ``_jit.py`` compiles: elsewhere the compiling decorators do not appear.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from source_tree import import_packages, modules, run

COMPILERS = {"cfunc", "generated_jit", "guvectorize", "jit", "njit", "stencil", "vectorize"}


def imports_numba(node: ast.AST) -> bool:
    """Whether a statement imports numba or llvmlite."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [str(node.module)] if isinstance(node, ast.ImportFrom) else []
    return any(name.split(".")[0] in ("numba", "llvmlite") for name in names)


def compiles(node: ast.AST) -> bool:
    """Whether a node takes a compiling decorator out of numba."""
    if isinstance(node, ast.ImportFrom) and imports_numba(node):
        return any(alias.name in COMPILERS for alias in node.names)
    return isinstance(node, ast.Attribute) and (
        node.attr in COMPILERS and ast.unparse(node.value) in ("numba", "nb")
    )


def check(root: Path) -> Iterator[str]:
    """One line for each use of numba past the door."""
    for package in import_packages(root):
        for path, tree in modules(package):
            parts = path.relative_to(package).parts
            if parts == ("_jit.py",):
                continue
            for node in ast.walk(tree):
                where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
                if imports_numba(node) and "_kernels" not in parts:
                    yield f"{where}: numba and llvmlite only in _jit.py and under _kernels/"
                if compiles(node):
                    yield f"{where}: only _jit.kernel compiles"


if __name__ == "__main__":
    run(check)

"""Each import package says what is public: a literal, sorted ``__all__`` of documented names.

Names are followed through re-exports and aliases to what they name. A class or function needs a
docstring, a constant one below it or a comment beside or above it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from source_tree import import_packages, run


def module_file(sources: list[Path], path: Path, node: ast.ImportFrom) -> Path | None:
    """The file that an import in ``path`` takes names from, if it is one of ours."""
    parts = (node.module or "").split(".")
    for folder in [path.parents[node.level - 1]] if node.level else sources:
        module = folder.joinpath(*parts)
        for file in (module / "__init__.py", module.with_name(f"{module.name}.py")):
            if file.exists():
                return file
    return None


def assigned(node: ast.AST, name: str) -> ast.expr | None:
    """The value, if a node assigns one to a name."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return node.value if ast.unparse(target) == name else None
    return None


def documented(sources: list[Path], path: Path | None, name: str) -> bool:
    """Whether a name of a module is documented where it is made."""
    text = path.read_text("utf-8") if path else ""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            if "overload" in map(ast.unparse, node.decorator_list):
                continue
            return ast.get_docstring(node) is not None
        if isinstance(node, ast.ImportFrom) and path:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return documented(sources, module_file(sources, path, node), alias.name)
        value = assigned(node, name)
        if isinstance(value, ast.Name):
            return documented(sources, path, value.id)
        if value:
            lines = text.splitlines()[max(value.lineno - 2, 0) : (value.end_lineno or 0) + 1]
            return any("#" in line or line.startswith('"""') for line in lines)
    return False


def check(root: Path) -> Iterator[str]:
    """One line for each missing, computed or unsorted ``__all__`` and undocumented name."""
    packages = import_packages(root)
    sources = sorted({package.parent for package in packages})
    for package in packages:
        folder = package / "slipstream" if package.name == "visionlab" else package
        init = folder / "__init__.py"
        nodes = list(ast.walk(ast.parse(init.read_text("utf-8"))))
        if any(isinstance(node, ast.alias) and node.name == "__all__" for node in nodes):
            continue  # it is judged where it is made
        where = init.relative_to(root)
        exports = [assigned(node, "__all__") for node in nodes]
        names = [ast.literal_eval(value) for value in exports if isinstance(value, ast.List)]
        if not names:
            yield f"{where}: __all__ is missing or not a literal list"
        elif names[0] != sorted(names[0], key=lambda n: (not n.isupper(), not n[0].isupper(), n)):
            yield f"{where}: __all__ is not sorted: constants, classes, the rest"
        for name in names[0] if names else ():
            if not documented(sources, init, name):
                yield f"{where}: {name} has no docstring"


if __name__ == "__main__":
    run(check)

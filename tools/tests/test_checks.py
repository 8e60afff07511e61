"""Every check passes on this repository and fails on a defect planted in a small one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

TOOLS = Path(__file__).parents[1]
CHECKS = sorted(path.name for path in TOOLS.glob("check_*.py"))
CACHE = "packages/slipstream-cache/src/slipstream_cache"
DECODERS = "packages/slipstream-decoders/src/slipstream_decoders"
FACADE = "packages/slipstream-namespace/src/visionlab/slipstream"
SOUND = {
    f"{CACHE}/__init__.py": (
        "from slipstream_cache.cache import SampleCache\n\n__all__ = ['SampleCache']\n"
    ),
    f"{CACHE}/cache.py": "import numpy\n\n\nclass SampleCache:\n    '''A cache.'''\n",
    f"{CACHE}/_jit.py": "import numba\n\nkernel = numba.njit\n",
    f"{CACHE}/_kernels/copy.py": "from numba import types\n",
    f"{CACHE}/py.typed": "",
    f"{DECODERS}/__init__.py": "__all__: list[str] = []\n",
    f"{DECODERS}/stages/images.py": "def convert():\n    import torch\n",
    f"{DECODERS}/py.typed": "",
    f"{FACADE}/__init__.py": (
        "if True:\n    from slipstream_cache import SampleCache\n\n__all__ = ['SampleCache']\n"
    ),
    f"{FACADE}/py.typed": "",
}
SOURCE_NAMES = "def f():\n    '''Do it.'''\n\n\nclass C:\n    '''A class.'''\n\n\nB = 1  # one\n\n"
LONG_BODY = "def f():\n" + "    pass\n" * 101
NINE = ", ".join("abcdefghi")
DEFECTS = [
    # check, file, its content, what the check must say
    ("arrows", f"{CACHE}/cache.py", "import torch\n", "slipstream_cache may not import torch"),
    ("arrows", f"{CACHE}/cache.py", "def f():\n    import torch.nn\n", "may not import torch"),
    ("arrows", f"{CACHE}/cache.py", "from slipstream_decoders import x\n", "slipstream_decoders"),
    ("arrows", f"{CACHE}/cache.py", "from visionlab.slipstream import x\n", "import visionlab"),
    (
        "arrows",
        f"{CACHE}/cache.py",
        "import importlib\nimportlib.import_module('PIL.Image')",
        "PIL",
    ),
    ("arrows", f"{DECODERS}/rng.py", "import torch\n", "import torch only under stages/"),
    ("arrows", f"{DECODERS}/rng.py", "import slipstream_cache\n", "import slipstream_cache"),
    ("arrows", "packages/new/src/new_layer/__init__.py", "", "has no row"),
    ("namespace", f"{FACADE}/../__init__.py", "", "visionlab holds folders only"),
    ("namespace", f"{FACADE}/../py.typed", "", "visionlab holds folders only"),
    ("namespace", "packages/x/src/visionlab/x/__init__.py", "", "only packages/slipstream-names"),
    ("namespace", "packages/x/src/x/__init__.py", "", "py.typed is missing"),
    ("shape", f"{CACHE}/long.py", "x = 1\n" * 601, "601 lines, at most 600"),
    (
        "shape",
        "packages/slipstream-cache/tests/test_x.py",
        "x = 1\n" * 801,
        "801 lines, at most 800",
    ),
    ("shape", f"{CACHE}/long.py", LONG_BODY, "long.py:1: f has 101 lines, at most 100"),
    ("shape", f"{CACHE}/wide.py", f"def f({NINE}): pass\n", "f has 9 parameters, at most 8"),
    ("shape", f"{CACHE}/wide.py", f"class C:\n  def f(self, *, {NINE}): 0\n", "C.f has 9 param"),
    (
        "shape",
        "packages/slipstream-cache/tests/test_x.py",
        "def test_f(): 0\n",
        "test_f has no doc",
    ),
    ("jit", f"{CACHE}/cache.py", "import numba\n", "only in _jit.py and under _kernels/"),
    ("jit", f"{CACHE}/cache.py", "def f():\n    from llvmlite import ir\n", "only in _jit.py"),
    (
        "jit",
        f"{CACHE}/_kernels/copy.py",
        "import numba\n@numba.njit\ndef f(): 0\n",
        "only _jit.ker",
    ),
    ("jit", f"{CACHE}/_kernels/copy.py", "from numba import vectorize\n", "only _jit.kernel"),
    ("exports", f"{CACHE}/__init__.py", "", "__all__ is missing"),
    ("exports", f"{CACHE}/__init__.py", "__all__ = sorted('ab')\n", "not a literal list"),
    ("exports", f"{CACHE}/__init__.py", f"{SOURCE_NAMES}__all__ = ['f', 'C']\n", "not sorted"),
    ("exports", f"{CACHE}/__init__.py", f"{SOURCE_NAMES}__all__ = ['C', 'B']\n", "not sorted"),
    ("exports", f"{CACHE}/__init__.py", "def f(): 0\n\n__all__ = ['f']\n", "f has no docstring"),
    ("exports", f"{CACHE}/__init__.py", "f = 1\n\n__all__ = ['f']\n", "f has no docstring"),
    ("exports", f"{CACHE}/__init__.py", "__all__ = ['gone']\n", "gone has no docstring"),
    ("exports", f"{CACHE}/cache.py", "class SampleCache: ...\n", "SampleCache has no docstring"),
    (
        "addresses",
        "x.lock",
        "https://example.org/mirror/sim" + "ple/\n",
        "address of a package index",
    ),
    ("addresses", "x.md", "see https://files.python" + "hosted.org/x\n", "address of a package"),
    ("addresses", "x.txt", "--index" + "-url file:///x\n", "address in a file of versions"),
    ("addresses", "x.py", "path = '/ho" + "me/someone/x'\n", "home directory"),
    ("addresses", "x.py", "path = '/ro" + "ot/x'\n", "home directory"),
    ("addresses", "x.py", "path = r'C:\\Us" + "ers\\x'\n", "home directory"),
]


def _run(check: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / check), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository without defects."""
    for name, content in SOUND.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


@pytest.mark.parametrize("check", CHECKS)
def test_check_passes_here(check: str) -> None:
    """The repository passes the check."""
    result = _run(check, TOOLS.parent)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("check", CHECKS)
def test_check_passes_on_a_sound_tree(check: str, tree: Path) -> None:
    """The tree that the defects are planted in has none before."""
    result = _run(check, tree)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("check", "name", "content", "message"), DEFECTS)
def test_check_finds_a_defect(
    check: str, name: str, content: str, message: str, tree: Path
) -> None:
    """The check fails on a planted defect and names its file."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    result = _run(f"check_{check}.py", tree)
    assert result.returncode == 1, result.stdout + result.stderr
    assert message in result.stdout


def test_every_check_has_a_defect() -> None:
    """No check is without a test that it can fail, and each is under 80 lines."""
    assert {f"check_{check}.py" for check, *_ in DEFECTS} == set(CHECKS)
    for check in CHECKS:
        assert len((TOOLS / check).read_text("utf-8").splitlines()) < 80, check


@pytest.mark.parametrize(
    ("wheel", "member"),
    [
        ("visionlab_slipstream-0.1.0-py3-none-any.whl", "visionlab/__init__.py"),
        ("visionlab_slipstream_cache-0.1.0-py3-none-any.whl", "visionlab/slipstream/cache.py"),
        ("visionlab_slipstream_cache-0.1.0-py3-none-any.whl", "slipstream/cache.py"),
    ],
)
def test_namespace_check_reads_wheels(wheel: str, member: str, tree: Path) -> None:
    """A built wheel may not close the namespace nor put files into another's package."""
    (tree / "dist").mkdir()
    with ZipFile(tree / "dist" / wheel, "w") as archive:
        archive.writestr(member, "")
    result = _run("check_namespace.py", tree)
    assert result.returncode == 1
    assert member in result.stdout


def test_checks_refuse_a_folder_without_packages(tmp_path: Path) -> None:
    """A check never passes for want of anything to look at."""
    result = _run("check_arrows.py", tmp_path)
    assert result.returncode == 1
    assert "pass the root" in result.stderr

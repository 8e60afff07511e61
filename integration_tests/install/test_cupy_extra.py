"""What ``sqrtspace-streams[cupy]`` installs, by the metadata of the wheels in the package index."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from importlib.metadata import requires

import pytest

UV = os.environ.get("UV", "uv")  # ``uv run`` says where it is
EXTRA = "cupy"


def _resolved(*requirements: str) -> set[str]:
    """The distributions that an installation of some requirements has."""
    command = [UV, "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    result = subprocess.run(
        [*command, "--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.11"],
        input="\n".join(requirements),
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),  # out of reach of this workspace's constraints
        timeout=200,
        check=False,
    )
    if "Failed to fetch" in result.stderr and "CI" not in os.environ:
        pytest.skip(f"the package index cannot be reached: {result.stderr.strip()[-300:]}")
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"^([\w.-]+)==", result.stdout, re.MULTILINE))


def _declared() -> dict[str, str]:
    """Requirements of the extra: distribution -> the requirement without its marker."""
    lines = [line.split(";") for line in requires("sqrtspace-streams") or []]
    chosen = [line[0] for line in lines if re.search(rf"extra == ['\"]{EXTRA}", ";".join(line))]
    return {re.split(r"[^\w.-]", line)[0]: line for line in chosen}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_extra_brings_what_cupy_compiles_with() -> None:
    """NVRTC and the runtime's headers, as CuPy's own extra for its libraries does; no others."""
    declared = _declared()
    wanted = _resolved("cupy-cuda12x[ctk]")
    compilers = {name for name in wanted if re.search(r"nvrtc|cuda-runtime", name)}
    assert len(compilers) == 2
    assert declared.keys() == compilers | {"cupy-cuda12x"}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_extra_installs_beside_torch() -> None:
    """CuPy for CUDA 12 and a torch for any other CUDA are resolved together."""
    declared = _declared()
    assert {"torch", *declared} <= _resolved("torch", *declared.values())

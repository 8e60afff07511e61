"""Each distribution, installed alone from its wheel into a fresh environment, works.

The scripts under ``smoke/`` run in those environments. Our distributions come from the wheels that
are built here, those of others in the versions of ``requirements.lock``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV", "uv")  # ``uv run`` says where it is
SMOKE = Path(__file__).parent / "smoke"
DISTRIBUTIONS = {
    "visionlab_slipstream": "slipstream_namespace",
    "visionlab_slipstream_cache": "slipstream_cache",
    "visionlab_slipstream_decoders": "slipstream_decoders",
    "visionlab_slipstream_loader": "slipstream_loader",
    "visionlab_slipstream_ssl_pipelines": "slipstream_ssl_pipelines",
    "visionlab_slipstream_s3sync": "slipstream_s3sync",
    "sqrtspace_streams": "sqrtspace_streams",
}


def _run(*command: str | Path, cwd: Path) -> str:
    """Run a command; its output is the message where it fails."""
    arguments = [str(part) for part in command]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    result = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode and "Failed to fetch" in result.stderr and "CI" not in os.environ:
        pytest.skip(f"the package index cannot be reached: {result.stderr.strip()[-300:]}")
    assert result.returncode == 0, f"{' '.join(arguments)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in sorted((ROOT / "packages").iterdir()):
        _run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, package, cwd=ROOT)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    """The interpreter of a fresh virtual environment, which is removed afterwards."""
    home = tmp_path / "environment"
    _run(UV, "venv", "--quiet", "--python", sys.executable, home, cwd=tmp_path)
    yield home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    shutil.rmtree(home)


def test_there_is_one_wheel_a_distribution(wheels: dict[str, Path]) -> None:
    """The workspace builds these seven wheels and no other."""
    assert sorted(wheels) == sorted(DISTRIBUTIONS)


def test_wheels_keep_the_namespace_open(wheels: dict[str, Path]) -> None:
    """No wheel has a file in ``visionlab`` itself; only the namespace's has files below it."""
    for distribution, wheel in wheels.items():
        names = [Path(name).parts for name in ZipFile(wheel).namelist()]
        assert not [parts for parts in names if parts[0] == "visionlab" and len(parts) == 2]
        in_namespace = {parts[0] for parts in names} & {"visionlab", "slipstream"}
        assert bool(in_namespace) == (distribution == "visionlab_slipstream")


def test_wheels_are_typed_and_licensed(wheels: dict[str, Path]) -> None:
    """Each wheel holds ``py.typed`` and its licence, and no tests."""
    for wheel in wheels.values():
        names = ZipFile(wheel).namelist()
        assert any(name.endswith("/py.typed") for name in names), wheel.name
        assert any(name.endswith("/licenses/LICENSE") for name in names), wheel.name
        assert not [name for name in names if "tests" in Path(name).parts], wheel.name


@pytest.mark.parametrize("distribution", sorted(DISTRIBUTIONS))
def test_distribution_works_alone(
    distribution: str, wheels: dict[str, Path], environment: Path, tmp_path: Path
) -> None:
    """The wheel installs with its requirements alone, and its smoke test passes."""
    wheel = wheels[distribution]
    locked = ("--constraints", ROOT / "requirements.lock", "--find-links", wheel.parent)
    _run(UV, "pip", "install", "--quiet", "--python", environment, *locked, wheel, cwd=tmp_path)
    _run(UV, "pip", "check", "--quiet", "--python", environment, cwd=tmp_path)
    _run(environment, "-I", SMOKE / f"{DISTRIBUTIONS[distribution]}.py", cwd=tmp_path)


def test_loader_brings_the_command(
    wheels: dict[str, Path], environment: Path, tmp_path: Path
) -> None:
    """Installing the loader installs the ``slipstream`` command."""
    wheel = wheels["visionlab_slipstream_loader"]
    locked = ("--constraints", ROOT / "requirements.lock", "--find-links", wheel.parent)
    _run(UV, "pip", "install", "--quiet", "--python", environment, *locked, wheel, cwd=tmp_path)
    command = shutil.which("slipstream", path=str(environment.parent))
    assert command
    assert "build" in _run(command, "--help", cwd=tmp_path)


def test_streams_run_their_demonstration(
    wheels: dict[str, Path], environment: Path, tmp_path: Path
) -> None:
    """The wheel of sqrtspace-streams alone brings a command that works."""
    wheel = wheels["sqrtspace_streams"]
    locked = ("--constraints", ROOT / "requirements.lock", "--find-links", wheel.parent)
    _run(UV, "pip", "install", "--quiet", "--python", environment, *locked, wheel, cwd=tmp_path)
    command = shutil.which("sqrtspace", path=str(environment.parent))
    assert command
    report = _run(command, "demo", "audio", "--seconds", "10", cwd=tmp_path)
    assert "Outputs: bit-identical" in report
    assert "Outputs: bit-identical" in _run(
        command, "demo", "logs", "--lines", "20000", cwd=tmp_path
    )

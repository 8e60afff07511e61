"""The reference says everything: variables, errors, commands."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|TURBOJPEG|RANK|LOCALAPPDATA")
PACKAGES = sorted(
    path.parent.name
    for path in ROOT.glob("packages/*/src/*/errors.py")
    if path.parent.name != "slipstream"
)


def variables_of_the_code() -> set[str]:
    """String literals in the form of a variable, in modules that read the environment."""
    found = set()
    for path in ROOT.glob("packages/*/src/**/*.py"):
        text = path.read_text(encoding="utf-8")
        if "environ" in text:  # or mentions the environment, which boto3 reads
            found |= {
                node.value
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and VARIABLE.fullmatch(node.value)
            }
    return found


def test_every_variable_is_documented() -> None:
    """The page names what the code reads, and nothing else but the variables of the tests."""
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    of_tests = {"SLIPSTREAM_TEST_PHOTOS", "SLIPSTREAM_FFCV_PYTHON"}
    named = {word for word in re.findall(r"`(\w+)`", page) if VARIABLE.fullmatch(word)}
    code = variables_of_the_code()
    assert {"SLIPSTREAM_CACHE_DIR", "LOCAL_WORLD_SIZE", "TURBOJPEG"} <= code
    assert named == code | of_tests


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_is_documented(package: str) -> None:
    """Each class of a package's ``errors`` is named; in a row, it stands beside what it also is."""
    module = import_module(f"{package}.errors")
    page = REFERENCE / ("streams.md" if package == "sqrtspace_streams" else "errors.md")
    lines = [set(re.findall(r"`(\w+)`", line)) for line in page.read_text("utf-8").splitlines()]
    errors = {
        name: error
        for name, error in vars(module).items()
        if inspect.isclass(error) and issubclass(error, Exception) and not name.startswith("_")
    }
    assert errors
    for name, error in errors.items():
        named = [words for words in lines if name in words]
        also = {base.__name__ for base in error.__mro__[1:-3]}
        assert any(not also or also & words for words in named), name


def test_the_page_of_commands_is_that_of_the_commands() -> None:
    """If not: ``uv run --no-sync python tools/command_reference.py``."""
    tool = runpy.run_path(str(ROOT / "tools" / "command_reference.py"))
    assert tool["PAGE"].read_text(encoding="utf-8") == tool["page"]()
    assert "## sync prune" in tool["page"]()


NAME = re.compile(r"(?:(?:visionlab|slipstream|sqrtspace_streams)\.)?[A-Za-z_][\w.]*")


def lookup(name: str) -> object:
    """What a dotted name stands for; one without a package is of ``visionlab.slipstream``."""
    if name.partition(".")[0] not in ("visionlab", "slipstream", "sqrtspace_streams"):
        name = f"visionlab.slipstream.{name}"
    words = name.split(".")
    for length in range(len(words), 0, -1):
        try:
            found: object = import_module(".".join(words[:length]))
        except ModuleNotFoundError:
            continue
        for word in words[length:]:
            found = getattr(found, word)
        return found
    raise AssertionError(f"no module of {name}")


def test_every_capability_is_there() -> None:
    """Each name in the second column can be imported."""
    page = (REFERENCE / "capabilities.md").read_text(encoding="utf-8")
    names = [
        name
        for row in re.findall(r"^\| .* \| (.*) \|$", page, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
        if NAME.fullmatch(name) and not name.islower()
    ]
    dotted = re.findall(r"`((?:visionlab|slipstream|sqrtspace_streams)\.[\w.]+)`", page)
    assert len(names) > 60
    for name in {*names, *dotted}:
        lookup(name)
    with pytest.raises(AttributeError):
        lookup("NoSuchName")

"""The documentation as a site: it builds without a warning, and its reference is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
API_PAGES = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; any broken link or unknown name is an error."""
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


@pytest.mark.parametrize("page", API_PAGES, ids=lambda page: str(page.stem))
def test_the_reference_has_every_public_name(page: Path, site: Path) -> None:
    """Each name of a package's ``__all__`` has a heading on the package's page."""
    package = page.read_text(encoding="utf-8").split(":::")[1].split()[0]
    html = (site / "reference" / "api" / page.stem / "index.html").read_text(encoding="utf-8")
    headings = {
        name.rpartition(".")[2] for name in re.findall(f'id="({package}[.a-z]*[.]\\w+)"', html)
    }
    names = set(import_module(package).__all__)
    assert names
    missing = sorted(names - headings)
    assert not missing


def test_every_package_has_a_page() -> None:
    """The names in one place (the namespace) are those of the packages."""
    packages = {path.parent.name for path in ROOT.glob("packages/*/src/*/__init__.py")}
    documented = {page.read_text(encoding="utf-8").split(":::")[1].split()[0] for page in API_PAGES}
    assert documented == packages - {"slipstream"}


def pages_of(navigation: Any) -> list[str]:
    """The paths in a part of the navigation, from top to bottom."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [path for part in parts for path in pages_of(part)]


def test_the_navigation_has_every_page_once() -> None:
    """In the order of ``mkdocs.yml``, which begins with the page that says what to read first."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = pages_of(config["nav"])
    assert named[0] == "index.md"
    docs = ROOT / "docs"
    assert sorted(named) == sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md"))

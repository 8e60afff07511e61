"""The code in README and docs runs as written, from top to bottom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream_loader.sample_images import write_sample_folder

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("packages/slipstream-*/README.md"),  # sqrtspace-streams runs its own
    ]
)
FENCE = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRELUDE = """
def run(command):
    import shlex, subprocess, sys
    words = shlex.split(command, comments=True)
    if words[0] != "slipstream":
        subprocess.run(words, check=True, timeout=200)
        return
    from slipstream_loader.cli import main
    sys.argv = words  # in this process: importing torch takes seconds
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated photos in four classes."""
    folder = tmp_path_factory.mktemp("docs") / "photos"
    write_sample_folder(folder, num_classes=4, images_per_class=20, seed=0)
    return folder


def script_of(page: Path) -> str:
    """The page's code as one Python script; commands become calls of ``run``."""
    parts = []
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            parts.append(code)
        else:
            scripts = ("slipstream ", "sqrtspace ")
            commands = [line for line in code.splitlines() if line.startswith(scripts)]
            parts += [f"run({command!r})" for command in commands]
    return "\n".join(parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, photos: Path, tmp_path: Path) -> None:
    """In a fresh process, in a folder that holds ``photos``."""
    script = script_of(page)
    if not script:
        pytest.skip("no code on this page")
    shutil.copytree(photos, tmp_path / "photos")
    path = tmp_path / "page.py"
    path.write_text(PRELUDE + script, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "SLIPSTREAM_CACHE_DIR": str(tmp_path / "caches"),
        },
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert run.returncode == 0, f"{page.name}:\n{run.stderr[-3000:]}"


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links name files that exist."""
    for page in {*PAGES, *ROOT.glob("*.md"), *ROOT.glob("packages/*/*.md")}:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_index_leads_to_every_page() -> None:
    """Whatever is in ``docs`` is linked from its first page."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", index)}
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert pages - {"index.md"} == linked


def test_every_page_has_code_that_runs_or_is_known_to_have_none() -> None:
    """A page whose code is no longer found would pass in silence."""
    without = {str(page.relative_to(ROOT)) for page in PAGES if not script_of(page)}
    assert without == {
        "docs/explanation/decoding-speed.md",
        "docs/explanation/gpu-decoding.md",
        "docs/reference/capabilities.md",
        "docs/reference/limits.md",
        "docs/reference/commands.md",
        "docs/reference/settings.md",
        "packages/slipstream-s3sync/README.md",
        *(str(page.relative_to(ROOT)) for page in (ROOT / "docs/reference/api").iterdir()),
    }

"""``visionlab`` stays an implicit namespace package, and one distribution owns its files.

One ``visionlab/__init__.py`` from any distribution would hide ``visionlab.slipstream``, so there
is none in the tree nor in a built wheel, only slipstream-namespace has files in ``visionlab`` and
``slipstream``, and ``py.typed`` stands in the packages below, not in ``visionlab`` itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from source_tree import import_packages, run

OWNER = "slipstream-namespace"
OWNED = ("slipstream", "visionlab")


def check(root: Path) -> Iterator[str]:
    """One line for each file or folder that breaks the namespace."""
    for package in import_packages(root):
        where = package.relative_to(root)
        if package.name in OWNED and where.parts[1] != OWNER:
            yield f"{where}: only packages/{OWNER} has files in {package.name}"
        if package.name == "visionlab":
            files = sorted(path for path in package.iterdir() if path.is_file())
            yield from (f"{path.relative_to(root)}: visionlab holds folders only" for path in files)
        elif not (package / "py.typed").exists():
            yield f"{where}: py.typed is missing"
    for wheel in sorted(root.glob("dist/*.whl")):
        owner = wheel.name.startswith("visionlab_slipstream-")
        for name in ZipFile(wheel).namelist():
            parts = Path(name).parts
            if parts[0] == "visionlab" and len(parts) == 2:
                yield f"{wheel.name}: {name}: visionlab holds folders only"
            elif parts[0] in OWNED and not owner:
                yield f"{wheel.name}: {name}: only the namespace wheel has files in {parts[0]}"


if __name__ == "__main__":
    run(check)

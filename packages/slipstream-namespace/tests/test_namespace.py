"""The namespace: one table of names, loaded lazily, under two spellings."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
FACADE = SOURCES / "visionlab" / "slipstream" / "__init__.py"
LAYERS = {
    "slipstream_cache": "visionlab-slipstream-cache",
    "slipstream_decoders": "visionlab-slipstream-decoders",
    "slipstream_loader": "visionlab-slipstream-loader",
    "slipstream_s3sync": "visionlab-slipstream-s3sync",
    "slipstream_ssl_pipelines": "visionlab-slipstream-ssl-pipelines",
    "sqrtspace_streams": "sqrtspace-streams",
}
LAYER_OF_MODULE = {
    "visionlab.slipstream.cache": "slipstream_cache",
    "visionlab.slipstream.decoders": "slipstream_decoders",
    "visionlab.slipstream.loader": "slipstream_loader",
    "visionlab.slipstream.pipelines": "slipstream_ssl_pipelines",
    "visionlab.slipstream.s3sync": "slipstream_s3sync",
    "visionlab.slipstream.streams": "sqrtspace_streams",
    "visionlab.slipstream.transforms": "slipstream_ssl_pipelines",
    "slipstream.cache": "slipstream_cache",
    "slipstream.dataset": "slipstream_loader",
    "slipstream.decoders": "slipstream_decoders",
    "slipstream.s3_sync": "slipstream_s3sync",
    "slipstream.pipelines": "slipstream_ssl_pipelines",
    "slipstream.transforms": "slipstream_ssl_pipelines",
}
BLOCK_LAYERS = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {set(LAYERS)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def _assigned(tree: ast.Module, name: str) -> object:
    """The literal that a module assigns to a name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{name} is not assigned")


def _for_type_checkers(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Name -> (module, attribute) of the imports under TYPE_CHECKING."""
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _names() -> list[str]:
    names = _assigned(ast.parse(FACADE.read_text("utf-8")), "__all__")
    assert isinstance(names, list)
    return names


def _run(code: str) -> str:
    """Standard output of a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_names_table_and_type_checkers_agree() -> None:
    """``__all__``, the run-time table and the TYPE_CHECKING block hold the same names."""
    tree = ast.parse(FACADE.read_text("utf-8"))
    layer_of = _assigned(tree, "_LAYER_OF")
    renamed = _assigned(tree, "_RENAMED")
    assert isinstance(layer_of, dict)
    assert isinstance(renamed, dict)
    at_run_time = {name: (layer, renamed.get(name, name)) for name, layer in layer_of.items()}
    assert sorted(_names()) == sorted(at_run_time)
    assert _for_type_checkers(tree) == at_run_time


def test_import_is_lazy() -> None:
    """Importing either spelling imports no layer, and neither NumPy nor torch."""
    code = "import slipstream, sys, visionlab.slipstream; print(*sys.modules)"
    imported = set(_run(code).split())
    assert {"slipstream", "visionlab.slipstream"} <= imported
    assert not imported & {"numpy", "torch", "numba", *LAYERS}


def test_cache_does_not_import_torch() -> None:
    """The cache opens through the namespace without torch."""
    code = "from visionlab.slipstream import SampleCache; import sys; print(*sys.modules)"
    imported = set(_run(code).split())
    assert "slipstream_cache" in imported
    assert "torch" not in imported


@pytest.mark.parametrize("name", _names())
def test_names_are_those_of_the_layer(name: str) -> None:
    """Each name is one object, whether taken from the layer or from either spelling."""
    layer, attribute = _for_type_checkers(ast.parse(FACADE.read_text("utf-8")))[name]
    expected = getattr(import_module(layer), attribute)
    assert getattr(import_module("visionlab.slipstream"), name) is expected
    assert getattr(import_module("slipstream"), name) is expected


@pytest.mark.parametrize("module", sorted(LAYER_OF_MODULE))
def test_modules_hold_names_of_their_layer(module: str) -> None:
    """A module exports every name of its layer, the earlier names, and nothing of its own."""
    is_part = module.endswith("transforms")
    layer = import_module(LAYER_OF_MODULE[module] + ".transforms" * is_part)
    renamed = _assigned(ast.parse(FACADE.read_text("utf-8")), "_RENAMED")
    assert isinstance(renamed, dict)
    public = {key: value for key, value in vars(import_module(module)).items() if key[0] != "_"}
    for name, value in public.items():
        assert value is getattr(layer, renamed.get(name, name))
    if not is_part:
        assert {name for name in public if name not in renamed} == set(layer.__all__)
        assert {name for name in public if name in renamed} == {
            name for name, current in renamed.items() if current in layer.__all__
        }


def test_missing_layer_says_what_to_install() -> None:
    """A name or module whose layer is missing raises ImportError with the install line."""
    imports = {f"from {m} import {n}": LAYERS[layer] for m, n, layer in _imports_by_layer()}
    imports |= {f"import {module}": LAYERS[layer] for module, layer in LAYER_OF_MODULE.items()}
    code = BLOCK_LAYERS + (
        f"for line in {list(imports)!r}:\n"
        "    try:\n"
        "        exec(line)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
        "    else:\n"
        "        print('imported')\n"
    )
    messages = _run(code).splitlines()
    assert len(messages) == len(imports)
    for line, message in zip(imports, messages, strict=True):
        assert message.endswith(f"Run: pip install {imports[line]}"), line


def _imports_by_layer() -> list[tuple[str, str, str]]:
    """(spelling, name, layer) of each name under each spelling."""
    layers = _for_type_checkers(ast.parse(FACADE.read_text("utf-8")))
    spellings = ("visionlab.slipstream", "slipstream")
    return [(spelling, name, layers[name][0]) for spelling in spellings for name in layers]


def test_broken_layer_keeps_its_own_error() -> None:
    """An import that fails inside an installed layer is not mistaken for a missing layer."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "try:\n"
        "    from visionlab.slipstream import SampleCache\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    message = _run(code)
    assert "numpy" in message
    assert "pip install" not in message


@pytest.mark.parametrize("spelling", ["visionlab.slipstream", "slipstream"])
def test_unknown_name_is_an_attribute_error(spelling: str) -> None:
    """A name that nobody has is an AttributeError, and ``dir`` lists those that are there."""
    module = import_module(spelling)
    with pytest.raises(AttributeError, match="no attribute 'Misspelt'"):
        _ = module.Misspelt
    assert set(_names()) <= set(dir(module))
    assert module.__all__ == _names()


def test_namespace_has_no_file_of_its_own() -> None:
    """``visionlab`` stays open to packages of other distributions."""
    assert import_module("visionlab").__file__ is None
    assert [path.name for path in (SOURCES / "visionlab").glob("*.py*")] == []

"""What of a program a resumed run compares."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.resume import fingerprint as fingerprint_module
from sqrtspace_streams.resume.fingerprint import differences, fingerprint

PROGRAMS = {
    "an attribute of a kernel's class": """
class Decay(Kernel):
    DECAY = {0}
    def init_state(self, shape, dtype): return {{"y": 0.0}}
    def step(self, x, state):
        y = state["y"] * self.DECAY + float(x[0, 0])
        return np.array([y]), {{"y": y}}
stage = Decay()
""",
    "the object of a bound method": """
class Filter:
    def __init__(self, a): self.a = a
    def apply(self, x): return x * self.a
stage = Filter({0}).apply
""",
    "a slot of a callable": """
class Filter:
    __slots__ = ("a",)
    def __init__(self, a): self.a = a
    def __call__(self, x): return x * self.a
stage = Filter({0})
""",
    "a static method": """
class Scale:
    @staticmethod
    def by(x): return x * {0}
    def __call__(self, x): return self.by(x)
stage = Scale()
""",
    "a property of a base": """
class Base:
    @property
    def a(self): return {0}
class Scale(Base):
    def __call__(self, x): return x * self.a
stage = Scale()
""",
    "a class method and a cached property": """
from functools import cached_property
class Scale:
    @classmethod
    def a(cls): return 1
    @cached_property
    def b(self): return {0}
    def __call__(self, x): return x * self.a() + self.b
stage = Scale()
""",
    "a list of the module": """
SCALES = [1, {0}]
def stage(x): return x * SCALES[1]
""",
    "a dict and a set of the module": """
SCALES, KNOWN = {{"a": 1}}, {{"b", "c", {0}}}
def stage(x): return x * (SCALES["a"] + len(KNOWN))
""",
    "a helper under lru_cache": """
from functools import lru_cache
@lru_cache
def weight(n): return n * {0}
def stage(x): return x * weight(3)
""",
    "an object of the module": """
class Filter:
    def apply(self, x): return x * {0}
FILTER = Filter()
def stage(x): return FILTER.apply(x)
""",
    "what a set of functions holds": """
def twice(x): return x * {0}
def thrice(x): return x * 3
STEPS = {{twice, thrice}}
def stage(x): return sum(step(x) for step in STEPS)
""",
    "a moment": """
from datetime import datetime
SINCE = datetime(2020, 1, {0})
def stage(x): return x * SINCE.day
""",
    "functions that name each other": """
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != {0} and even(n - 1)
def stage(x): return x * even(4)
""",
}


def digests(stage: Any, **config: Any) -> dict[str, str]:
    pipe = SqrtSpacePipeline(window=2, hop=2, **config)
    if hasattr(stage, "init_state"):
        pipe.kernel("s")(stage)
    else:
        pipe.stage("s")(stage)
    pipe.bind(np.zeros(8, "float32"))
    question = pipe._question("s", None)
    return fingerprint(question.compiled, question.arguments, pipe.source, pipe.settings)


def program(name: str, number: int) -> Any:
    """The stage of one of the programs, as a module of its own."""
    from sqrtspace_streams import Kernel

    module = ModuleType("program")
    vars(module).update(np=np, Kernel=Kernel)
    exec(PROGRAMS[name].format(number), vars(module))
    return module.stage


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_changed_program_is_another_one(name: str) -> None:
    """And the same text, run once more, is the same one."""
    assert digests(program(name, 2)) == digests(program(name, 2))
    assert differences(digests(program(name, 2)), digests(program(name, 3))) == ["stage 's'"]


def test_functions_without_byte_code_count_by_name() -> None:
    """Those of NumPy, alone and within a partial; and builtin ones."""
    stages = [
        *(np.sin, np.cos, partial(np.sort, axis=1), partial(np.argsort, axis=1)),
        *(partial(np.mean, axis=1), partial(np.median, axis=1), partial(np.mean, axis=-1)),
    ]
    found = [digests(stage)["stage 's'"] for stage in stages]
    assert len(set(found)) == len(stages)
    assert found == [digests(stage)["stage 's'"] for stage in stages]


def test_libraries_count_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the backend, and those that a stage names."""
    pytest.importorskip("pyarrow")
    before = digests(np.sin, backend="arrow")
    monkeypatch.setattr(fingerprint_module, "library_version", lambda package: "0")
    assert differences(before, digests(np.sin, backend="arrow")) == ["pyarrow"]


def test_every_process_finds_the_same() -> None:
    """Whatever the seed of hashes: in sets and dicts, and of what a stage names of libraries."""
    code = """
import logging
import psutil, platformdirs
from psutil import virtual_memory
from test_fingerprints import PROGRAMS, digests, program
log = logging.getLogger("here")
NAMES = {"a", "b", "c", "d"}
def stage(x):
    log.info("seen %s %s", virtual_memory(), psutil.cpu_count())
    return x * len(platformdirs.user_cache_dir()) * len(NAMES)
print([digests(program(name, 2)) for name in PROGRAMS], digests(stage))
"""
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent,
            env=environment,
        )
        assert result.returncode == 0, result.stderr
        found.add(result.stdout)
    assert len(found) == 1

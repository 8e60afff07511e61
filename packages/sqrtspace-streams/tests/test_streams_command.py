"""The command ``sqrtspace``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sqrtspace_streams import cli
from sqrtspace_streams.demos import audio


def test_the_audio_demonstration_prints_its_report() -> None:
    """The installed script ends with 0 and prints every line of the template."""
    script = Path(sys.executable).with_name("sqrtspace")
    command = [str(script), "demo", "audio", "--seconds", "4", "--mode", "sqrt"]
    environment = {"COLUMNS": "200", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    for pattern in (
        r"audio: 4 s at 48 kHz, 184 windows",
        r"Mode: sqrt   Window: 4096   k: \d+   LRU: \d+MB   Workers: \d+",
        r"Peak RSS: \d+ MB  \(baseline \d+ MB\)",
        r"Major Faults: \S+  \(baseline \S+\)",
        r"LLC Misses: .*\((baseline|not counted|the system)",
        r"Time: \d+\.\d\d× baseline",
        r"Outputs: bit-identical to classic order",
    ):
        assert re.search(pattern, run.stdout), pattern


def test_results_that_differ_end_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict is computed: one wrong number of the baseline is found and printed."""
    run_child = audio.run_child

    def spoiling(module: str, arguments: list[str]) -> str:
        printed = run_child(module, arguments)
        if arguments[0] == "numpy":
            rows = np.load(arguments[2])
            rows[-1, -1] += 0.01
            np.save(arguments[2], rows)
        return printed

    monkeypatch.setattr(audio, "run_child", spoiling)
    assert cli.main(["demo", "audio", "--seconds", "1", "--window", "512", "--hop", "512"]) == 1
    assert "DIFFERENT from the baseline" in capsys.readouterr().out


def test_plan_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Options are part of the plan, predictions are there, and the JSON is one line."""
    options = ["--seconds", "600", "--hop", "2048", "--checkpoint-every", "8"]
    assert cli.main(["plan", "--print", *options]) == 0
    table = capsys.readouterr().out
    assert "14061 of 4096 samples, hop 2048" in table
    assert "every 8 windows" in table
    assert "reason" in table
    assert cli.main(["plan", "--json", *options]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["hop"], plan["k"], plan["num_windows"]) == (2048, 8, 14_061)
    assert plan["classic_bytes"] > 5 * plan["sqrt_bytes"] > 0
    assert cli.main(["plan", "--json", "--mode", "classic", *options]) == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "classic"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--window", "0"], "window=0: expected at least 1"),
        (["plan", "--seconds", "0"], "--seconds 0.0: expected a time above 0"),
        (["demo", "audio", "--seconds", "nan"], "expected a time above 0"),
        (["demo", "audio", "--seconds", "0.08"], "has no window of 4096 samples"),
        (["demo", "audio", "--hop", "-1"], "hop=-1: expected at least 1"),
        (["demo", "audio", "--seed", "-1"], "--seed -1: expected at least 0"),
    ],
)
def test_bad_options_end_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are told in one line, without a traceback."""
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unknown_demonstrations_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse lists those that there are."""
    with pytest.raises(SystemExit) as found:
        cli.main(["demo", "video"])
    assert found.value.code == 2
    assert "audio" in capsys.readouterr().err


def test_a_run_that_fails_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Windows in which no bin is in the band make the processes fail, and the reason is told."""
    assert cli.main(["demo", "audio", "--seconds", "1", "--window", "8"]) == 1
    assert "no bin is in" in capsys.readouterr().err

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
from sqrtspace_streams.demos import runs


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
    measure = runs.measure

    def spoiling(run: runs.Run) -> runs.Measured:
        measured = measure(run)
        if run.how == runs.PLAIN:
            rows = np.load(run.out)
            rows[-1, -1] += 0.01
            np.save(run.out, rows)
        return measured

    monkeypatch.setattr(runs, "measure", spoiling)
    assert cli.main(["demo", "audio", "--seconds", "1", "--window", "512", "--hop", "512"]) == 1
    assert "DIFFERENT from the baseline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["logs", "--lines", "30000"], "logs: 30000 lines, 117 windows"),
        pytest.param(
            ["ml", "--images", "20"], "ml: 20 images, 980 shingles", marks=pytest.mark.slow
        ),  # imports torch in three processes
    ],
)
def test_the_other_demonstrations_print_theirs(
    arguments: list[str], title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows are those of classic order to the bit, and those of the plain baseline."""
    if arguments[0] == "ml":
        pytest.importorskip("torch")
    assert cli.main(["demo", *arguments]) == 0
    printed = capsys.readouterr().out
    assert title in printed
    assert "Outputs: bit-identical to classic order" in printed


def test_a_profile_has_a_line_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """Windows and bytes are those of the run, nothing is computed twice."""
    assert cli.main(["profile", "audio", "--seconds", "3", "--mode", "sqrt"]) == 0
    printed = capsys.readouterr().out
    for stage, row_bytes in (
        ("fft", 16392),
        ("bandpass", 1312),
        ("features", 32),
        ("classify", 16),
    ):
        assert re.search(rf"{stage} .* 137 .* {row_bytes} ", printed), stage
    assert "computed again 0.0%" in printed


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
        (["plan", "--seconds", "0"], "--seconds 0.0: expected a number above 0"),
        (["demo", "audio", "--seconds", "nan"], "expected a number above 0"),
        (["demo", "audio", "--seconds", "0.08"], "no window of 4096"),
        (["demo", "logs", "--lines", "200"], "no window of 256"),
        (["profile", "ml", "--images", "0"], "--images 0: expected a number above 0"),
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

"""Metrics of a process, reports, and the plain baselines."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sqrtspace_streams import _cache_misses, baselines
from sqrtspace_streams.config import Settings
from sqrtspace_streams.demos import audio
from sqrtspace_streams.metrics import ChildError, Meter, Usage, run_child
from sqrtspace_streams.plan import Plan, Planner
from sqrtspace_streams.report import Report, Verdict, compare, is_equivalent

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_CHILD = """
import pathlib, psutil, re, sys, resource
from sqrtspace_streams.metrics import Meter
fat = bytearray(300_000_000); del fat
before, io = resource.getrusage(resource.RUSAGE_SELF), psutil.Process().io_counters()
with Meter() as meter:
    block = bytearray(200_000_000)
    with open(sys.argv[1], "wb") as file:
        file.write(block[:3_000_000])
    del block
after = resource.getrusage(resource.RUSAGE_SELF)
written = psutil.Process().io_counters().write_bytes - io.write_bytes
peak = int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
print(meter.usage.to_json())
print(peak, after.ru_minflt - before.ru_minflt, after.ru_majflt - before.ru_majflt, written)
"""


@linux
def test_a_meter_agrees_with_the_kernel(tmp_path: Path) -> None:
    """Peak within 2 % of VmHWM though more was held before, faults and bytes as counted."""
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "file")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, second = printed.splitlines()
    usage, (peak, minor, major, written) = Usage.from_json(first), map(int, second.split())
    assert usage.peak_bytes == pytest.approx(peak, rel=0.02)
    assert usage.peak_bytes - usage.floor_bytes == pytest.approx(200e6, rel=0.02)
    assert usage.minor_faults is not None
    assert 0 <= minor - usage.minor_faults < 0.02 * minor
    assert usage.major_faults is not None
    assert usage.major_faults <= major
    assert usage.write_bytes == written
    assert (usage.llc_misses is None) == bool(usage.llc_reason)
    assert min(usage.cpu_seconds, usage.seconds) > 0


@pytest.mark.parametrize(
    ("call", "reason"), [(None, "not counted on"), (1_000_000, "no counter for us")]
)
def test_cache_misses_that_are_not_counted_have_a_reason(
    monkeypatch: pytest.MonkeyPatch, call: int | None, reason: str
) -> None:
    """On a processor that is not known, or where the system refuses: None, and no error."""
    known = {} if call is None else {platform.machine(): call}
    monkeypatch.setattr(_cache_misses, "_PERF_EVENT_OPEN", known)
    counter = _cache_misses.CacheMissCounter()
    counter.start()
    assert counter.stop() is None
    assert reason in counter.reason or sys.platform != "linux"


def test_the_peak_of_a_child_is_its_own() -> None:
    """A parent with much memory does not make its children look large."""
    fat = np.ones(40_000_000)
    with Meter() as meter:
        pass
    assert meter.usage.floor_bytes > fat.nbytes
    printed = run_child("sqrtspace_streams.demos.runs", ["--help"])
    assert "JSON of a Run" in printed
    code = "from sqrtspace_streams.metrics import Meter\nwith Meter() as m: pass\n"
    command = [sys.executable, "-c", code + "print(m.usage.peak_bytes)"]
    child = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(child) < fat.nbytes / 2


def test_a_child_that_fails_says_why() -> None:
    """Its status and what it wrote to standard error are in the message."""
    with pytest.raises(ChildError, match=r"status 2(.|\n)*unrecognized"):
        run_child("sqrtspace_streams.demos.runs", ["nonsense", "a"])


def test_verdicts_are_computed() -> None:
    """One changed bit, one large change and another shape are each seen."""
    rows = np.linspace(0, 1, 12, dtype="float32").reshape(3, 4)
    assert compare(rows, classic=rows, plain=rows).text.startswith("bit-identical to classic order")
    near = rows.copy()
    near[1, 1] = np.nextafter(near[1, 1], np.float32(2))
    assert not compare(rows, classic=near, plain=rows).is_equal
    rounded = compare(rows, classic=rows, plain=near)
    assert rounded.is_equal
    assert "equal to rounding" in rounded.text
    assert not compare(rows, classic=rows, plain=rows + np.float32(0.01)).is_equal
    assert not compare(rows, classic=rows[:2], plain=rows).is_equal


def test_equivalence_depends_on_the_type() -> None:
    """Integers are compared exactly, complex numbers by component, NaN equals NaN."""
    assert not is_equivalent(np.array([10**9]), np.array([10**9 + 1]))
    one = np.ones(1, "float32")
    assert is_equivalent(one, one + np.float32(5e-6))
    assert not is_equivalent(one, one + np.float32(5e-5))
    assert not is_equivalent(one.astype("float64"), one.astype("float64") + 5e-6)
    assert not is_equivalent(1e6 * one + 0j, 1e6 * one + 1e-3j)
    assert is_equivalent(one * np.nan, one * np.nan)
    assert not is_equivalent(one, one.astype("float64"))


def test_the_report_has_the_lines_of_its_template() -> None:
    """Every figure stands beside that of the baseline; what is not known is n/a with a reason."""
    mine = Usage(1_100_000_000, 10**8, 12, 0, None, None, None, "no counter here", 0.83, 1.0)
    base = Usage(6_800_000_000, 10**8, 99, 4231, 5_000_000, 0, None, "no counter here", 1.0, 1.0)
    settings = Settings.of({"max_workers": 8})
    plan = Planner(settings).without_costs(100, "for a test", "sqrt")
    report = Report("audio", "auto", plan, mine, base, Verdict(True, "bit-identical"))
    text = "\n".join(report.lines())
    for line in (
        "Mode: sqrt (auto)   Window: 4096   k: 16   LRU: 64MB   Workers: 8",
        "Peak RSS: 1.1 GB  (baseline 6.8 GB)",
        "Major Faults: 0  (baseline 4231)",
        "LLC Misses: n/a (no counter here)",
        "Read: n/a  (baseline 5.0 MB)",
        "Time: 0.83× baseline",
        "Outputs: bit-identical",
    ):
        assert line in text
    assert Plan.from_dict(json.loads(plan.to_json())) == plan


def test_the_baseline_of_the_audio_demonstration_is_the_pipeline() -> None:
    """To rounding, and a recording shorter than a window has no rows."""
    x = audio.recording(70_000, 60_000)
    pipe = audio.pipeline(window=1024, hop=300)
    pipe.bind(x)
    rows = pipe.evaluate(audio.TARGET, params=audio.params(1024))
    plain = baselines.audio(x, **audio.BAND, window=1024, hop=300)
    assert len(rows) == (60_000 - 1024) // 300 + 1
    assert is_equivalent(rows, plain)
    assert rows.std(axis=0).min() > 1e-3
    assert baselines.audio(x[:1000], **audio.BAND, window=1024).shape == (0, 4)


def test_the_audio_demonstration_can_be_pushed() -> None:
    """Four stages, pushed in odd pieces and pulled as they come, give what evaluating gives."""
    x = audio.recording(0, 60_000)
    whole, live = (audio.pipeline(window=1024, hop=300) for _ in range(2))
    whole.bind(x)
    pulled = []
    for start in range(0, len(x), 7_001):
        for _ in live.push_all(x[start : start + 7_001]):
            pulled.append(live.pull_until(live.num_windows(), params=audio.params(1024)))
    pulled.append(live.pull_until(10**6, params=audio.params(1024)))
    rows = whole.evaluate(audio.TARGET, params=audio.params(1024))
    assert len(pulled) > 3
    assert np.concatenate(pulled).tobytes() == rows.tobytes()


def test_the_recording_does_not_depend_on_pieces(tmp_path: Path) -> None:
    """Any piece is that of the whole, in memory and in the file."""
    whole = audio.recording(0, 150_000)
    for start, stop in ((0, 1), (65_535, 65_537), (1_000, 149_999), (7, 7)):
        piece = audio.recording(start, stop - start)
        np.testing.assert_array_equal(piece, whole[start:stop])
    path = tmp_path / "recording.npy"
    audio.write_recording(path, 150_000 / audio.SAMPLE_RATE)
    np.testing.assert_array_equal(np.load(path), whole)
    assert whole.dtype == "float32"

"""The bench matrix: memory limits, data sets, the CSV file, summaries."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sqrtspace_streams import cli
from sqrtspace_streams.bench import limits, summary
from sqrtspace_streams.bench.data_sets import SHARES, Growth
from sqrtspace_streams.bench.matrix import Cell, Matrix
from sqrtspace_streams.metrics import ChildError, run_child

COLUMNS = (
    "demo,data_set,window,hop,how,k,lru_mb,workers,limit_mb,limit_kind,outcome,windows,mode,tile,"
    "peak_mb,floor_mb,predicted_mb,minor_faults,major_faults,read_mb,llc_misses,cpu_s,wall_s,digest"
)
CELL = Cell("audio", "fits", 4096, 1024, "classic", 16, 64, 1, 500.0, "cgroup", "ok", digest="a")


def own_groups() -> set[Path]:
    """Control groups that limits left behind."""
    return set(Path("/sys/fs/cgroup").glob("**/sqrtspace-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("kind", ["cgroup", "rlimit"])
def test_a_limit_holds(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits runs, what does not is told apart from other failures, no group is left."""
    if kind == "rlimit":
        monkeypatch.setattr(limits, "_new_group", lambda limit: None)
    before = own_groups()
    with limits.memory_limit(200_000_000) as limit:
        if limit.kind != kind:
            pytest.skip("no control group can be made here")
        run_child("timeit", ["-n1", "-r1", "bytearray(100_000_000)"], before=limit.enter)
        with pytest.raises(ChildError) as refused:
            run_child("timeit", ["-n1", "-r1", "bytearray(400_000_000)"], before=limit.enter)
        with pytest.raises(ChildError) as other:
            run_child("timeit", ["-n1", "-r1", "1 / 0"], before=limit.enter)
    assert refused.value.ran_out_of_memory
    assert not other.value.ran_out_of_memory
    assert own_groups() == before


def test_a_limit_is_removed_after_an_error() -> None:
    """The group goes even where the block raises."""
    before = own_groups()
    with pytest.raises(KeyError), limits.memory_limit(100_000_000):
        raise KeyError
    assert own_groups() == before


def test_data_sets_are_sized_by_what_was_measured() -> None:
    """Peak of classic order is the given share of the limit."""
    growth = Growth(floor_bytes=40e6, window_bytes=50e3)
    for share in SHARES.values():
        windows = growth.windows(share * 1e9)
        assert 40e6 + 50e3 * windows == pytest.approx(share * 1e9, rel=1e-3)
    assert SHARES["fits"] < 0.5 < 0.7 < SHARES["barely"] < 0.9 < 1 < SHARES["spill"]


def test_the_matrix_is_that_of_the_specification() -> None:
    """Three windows, spacings, caches and numbers of workers; one of each where it is quick."""
    matrix = Matrix.of("audio", quick=False)
    assert list(matrix.windows) == [2048, 4096, 8192]
    assert list(matrix.checkpoints) == [8, 16, 32]
    assert list(matrix.lru_mb) == [32, 64, 128]
    assert list(matrix.workers) == [1, 4, 8]
    quick = Matrix.of("audio", quick=True)
    assert len(quick.windows) * len(quick.checkpoints) * len(quick.lru_mb) == 1


def test_other_rows_are_found() -> None:
    """Runs of one data set and window have one digest; the plain baseline may differ."""
    cells = [CELL, replace(CELL, how="numpy", digest="b"), replace(CELL, how="auto")]
    cells += [replace(CELL, window=2048, digest="c"), replace(CELL, outcome="x", digest=None)]
    assert summary.differing(cells) == []
    wrong = replace(CELL, how="auto", digest="d")
    assert summary.differing([*cells, wrong]) == [wrong]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    """Runs that ran out of memory are left out."""
    pytest.importorskip("matplotlib")
    cells = [replace(CELL, how=how, peak_mb=9.0, cpu_s=1.0) for how in ("numpy", "classic", "auto")]
    summary.plot([*cells, replace(CELL, outcome="out of memory")], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(250)
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_quick_bench_writes_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine runs: classic order stays below the limit, takes most of it, or runs out of memory."""
    arguments = ["bench", "audio", "--quick", "--limit-mb", "260", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    with (tmp_path / "results.csv").open(newline="") as file:
        assert file.readline().strip() == COLUMNS
        file.seek(0)
        rows = {(row["data_set"], row["how"]): row for row in csv.DictReader(file)}
    assert len(rows) == 9
    for kind, how in rows:
        expected = "out of memory" if kind == "spill" and how != "auto" else "ok"
        if (kind, how) != ("barely", "numpy"):  # plain NumPy takes more than classic order
            assert rows[kind, how]["outcome"] == expected, (kind, how)
    assert 0.7 * 260 < float(rows["barely", "classic"]["peak_mb"]) < 0.9 * 260
    assert float(rows["spill", "auto"]["peak_mb"]) < 0.4 * 260
    assert rows["barely", "auto"]["digest"] == rows["barely", "classic"]["digest"]
    assert "out of" in capsys.readouterr().out


def test_bad_bench_options_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """No rounds, no limit, a limit without room."""
    assert cli.main(["bench", "audio", "--rounds", "0"]) == 2
    assert cli.main(["bench", "logs", "--limit-mb", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_the_scripts_are_the_command() -> None:
    """``bench/bench_audio.py`` and ``bench/bench_logs.py`` take the options of the command."""
    folder = Path(__file__).parents[1] / "bench"
    for name in ("audio", "logs"):
        command = [sys.executable, str(folder / f"bench_{name}.py"), "--help"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "--quick" in printed

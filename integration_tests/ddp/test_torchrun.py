"""Real torchrun processes train, stop in the middle of an epoch, and go on in other numbers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from slipstream_loader.sample_images import write_sample_folder

TRAIN = Path(__file__).with_name("train.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 images in four classes: no number of ranks here divides them."""
    folder = tmp_path_factory.mktemp("ddp") / "photos"
    write_sample_folder(folder, num_classes=4, images_per_class=12, seed=3)
    for path in sorted(folder.rglob("*.jpg"))[:3]:
        path.unlink()
    return folder


def torchrun(
    num_ranks: int, data: Path, out: Path, *arguments: object
) -> list[list[dict[str, Any]]]:
    """Run train.py on several ranks; what each rank saw."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(num_ranks), str(TRAIN)),
            *("--data", str(data), "--out", str(out), *map(str, arguments)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(num_ranks)]


def samples(ranks: list[list[dict[str, Any]]]) -> list[tuple[int, int, str]]:
    """(epoch, id, pixels) of what all ranks saw together, in the order of the samples."""
    seen = []
    for step in range(len(ranks[0])):
        columns = [
            [
                (rank[step]["epoch"], sample_id, pixels)
                for sample_id, pixels, padding in zip(
                    rank[step]["ids"], rank[step]["pixels"], rank[step]["padding"], strict=True
                )
                if not padding
            ]
            for rank in ranks
        ]
        longest = max(len(column) for column in columns)
        seen += [c[turn] for turn in range(longest) for c in columns if turn < len(c)]
    return seen


def test_a_run_goes_on_with_other_numbers_of_ranks(data: Path, tmp_path: Path) -> None:
    """Two ranks stop after three steps; one rank and three ranks each finish the run: the samples
    and their pixels are those of an unbroken run of one process."""
    unbroken = samples(torchrun(1, data, tmp_path / "unbroken", "--seed", 7, "--batch-size", 6))
    assert len(unbroken) == 90
    assert all(len({i for e, i, _ in unbroken if e == epoch}) == 45 for epoch in (0, 1))
    stopped = torchrun(2, data, tmp_path / "stopped", "--seed", 7, "--steps", 3)
    first = samples(stopped)
    assert first == unbroken[:24]
    state = tmp_path / "stopped" / "state.json"
    for num_ranks in (1, 3):
        out = tmp_path / f"resumed-{num_ranks}"
        rest = torchrun(num_ranks, data, out, "--resume", state, "--batch-size", 5)
        assert first + samples(rest) == unbroken
        assert all(math.isfinite(step["loss"]) for rank in rest for step in rank)


def test_ranks_agree_on_a_seed_that_nobody_gave(data: Path, tmp_path: Path) -> None:
    """seed=None: one is drawn, and together the ranks still see every sample once."""
    seen = samples(torchrun(2, data, tmp_path / "seedless", "--epochs", 1))
    assert sorted(sample_id for _, sample_id, _ in seen) == list(range(45))


def test_a_mixture_goes_on_with_other_numbers_of_ranks(data: Path, tmp_path: Path) -> None:
    """Shares are exact over all ranks, and a run that two ranks stopped is finished by three."""
    other = tmp_path / "other"
    write_sample_folder(other, num_classes=4, images_per_class=2, seed=4)
    options = ("--seed", 7, "--mix", other)
    unbroken = samples(torchrun(1, data, tmp_path / "unbroken", *options, "--batch-size", 6))
    for epoch in (0, 1):
        ids = [i for e, i, _ in unbroken if e == epoch]
        assert len(ids) == 53
        assert abs(sum(i >= 45 for i in ids) - 53 / 3) < 1
    counts = Counter(i for _, i, _ in unbroken)
    assert {counts[i] for i in range(45)} == {1, 2}  # 70 of 45: nobody comes thrice, or never
    first = samples(torchrun(2, data, tmp_path / "stopped", *options, "--steps", 3))
    assert first == unbroken[:24]
    state = tmp_path / "stopped" / "state.json"
    rest = samples(torchrun(3, data, tmp_path / "rest", "--resume", state, *options))
    assert first + rest == unbroken

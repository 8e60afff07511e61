"""The examples train under torchrun, and go on in the middle of an epoch as if nothing was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream_loader.sample_images import write_sample_folder

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images in three classes: seven steps of two ranks an epoch."""
    folder = tmp_path_factory.mktemp("examples") / "photos"
    write_sample_folder(folder, num_classes=3, images_per_class=20, seed=3)
    return folder


def torchrun(example: str, photos: Path, out: Path, *arguments: object) -> tuple[list[float], str]:
    """Train on two ranks; the loss of every step, and what was printed."""
    options = {"--data": photos, "--out": out, "--epochs": 2, "--batch-size": 4, "--size": 32}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(EXAMPLES / example)),
            *(str(part) for option in options.items() for part in option),
            *map(str, arguments),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    losses: list[float] = json.loads((out / "losses.json").read_text())
    return losses, run.stdout


@pytest.mark.parametrize(
    ("example", "last_line"),
    [
        ("train_supervised.py", "accuracy on the training images: "),
        ("train_simclr.py", "nearest neighbours of the same class: "),
    ],
)
def test_a_resumed_run_has_the_same_losses(
    example: str, last_line: str, photos: Path, tmp_path: Path
) -> None:
    """From a checkpoint in the middle of the first epoch: every later loss is equal to the bit."""
    unbroken, said = torchrun(example, photos, tmp_path / "whole", "--checkpoint-every", 4)
    assert len(unbroken) == 14
    assert last_line in said
    checkpoint = tmp_path / "whole" / "checkpoint-4.pt"
    resumed, said_again = torchrun(example, photos, tmp_path / "rest", "--resume", checkpoint)
    assert resumed == unbroken
    assert len(set(unbroken)) == 14
    assert said_again.splitlines()[-1] == said.splitlines()[-1]

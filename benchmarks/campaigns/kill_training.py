"""Kills trainings on several ranks at random moments and resumes them from their last checkpoint.

In each run some ranks train in step (gloo), and the first saves the loader's state now and then.
All ranks are killed after a random number of steps, or at any moment of their lives, or one of
them and the others a little later. Then as many or another number of ranks go on from the last
state, perhaps to be killed again; the last are left to finish. Up to each state that was used, and
from there on, every sample must have been seen exactly once in every epoch, with the pixels of a
training that nothing disturbed.

    python benchmarks/campaigns/kill_training.py --runs 200
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from outcome import end

from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder

_FORK = multiprocessing.get_context("fork")
_TIMEOUT_S = 200.0
_NUM_SAMPLES = 80
_EPOCHS = 2
_GLOBAL_BATCH = 12
_WORLDS = (1, 2, 3)
_PAUSE_S = 0.02
"""Seconds that a step takes."""
_MAX_STEPS = 10
"""Of the 14 of a training, before a kill that waits for steps."""


@dataclass(frozen=True)
class Training:
    """Where a training keeps its data, its state, and the notes of what it saw."""

    cache: Path
    folder: Path

    @property
    def state(self) -> Path:
        """The last state that was saved."""
        return self.folder / "state.json"

    def notes(self, attempt: int, rank: int) -> Path:
        """What a rank saw: one line a step."""
        return self.folder / f"{attempt}-{rank}.jsonl"


def make_loader(cache: Path, world_size: int) -> SlipstreamLoader:
    """The loader of one rank."""
    return SlipstreamLoader(
        cache,
        batch_size=_GLOBAL_BATCH // world_size,
        seed=7,
        drop_last=False,
        num_threads=1,
        pipelines={"image": [DecodeRandomResizedCrop(24)]},
        verbose=False,
    )


def train(training: Training, attempt: int, rank: int, world_size: int) -> None:
    """One rank: note what is seen, then step together; the first saves the state."""
    store = f"file://{training.folder / f'store-{attempt}'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    loader = make_loader(training.cache, world_size)
    if training.state.exists():
        loader.load_state_dict(json.loads(training.state.read_text())["loader"])
    step = 0
    with training.notes(attempt, rank).open("w") as notes:
        while (epoch := loader.state_dict()["epoch"]) < _EPOCHS:
            for batch in loader:
                step += 1
                notes.write(json.dumps(seen_in(batch, epoch)) + "\n")
                notes.flush()
                dist.all_reduce(torch.ones(1))
                if rank == 0 and step % 2 == 0:
                    save(
                        training, {"attempt": attempt, "step": step, "loader": loader.state_dict()}
                    )
                time.sleep(_PAUSE_S)
    dist.barrier()
    dist.destroy_process_group()


def save(training: Training, state: dict[str, Any]) -> None:
    """Replace the state as a whole."""
    part = training.state.with_suffix(".part")
    part.write_text(json.dumps(state))
    os.replace(part, training.state)


def seen_in(batch: dict[str, Any], epoch: int) -> list[tuple[int, int, str]]:
    """Epoch, sample and pixels of all but what pads."""
    ids = batch["_indices"].tolist()
    padding = batch.get("_padding", torch.zeros(len(ids))).tolist()
    digests = [hashlib.sha256(one.contiguous().numpy()).hexdigest()[:16] for one in batch["image"]]
    return [
        (epoch, sample_id, digest)
        for sample_id, digest, is_padding in zip(ids, digests, padding, strict=True)
        if not is_padding
    ]


def start(training: Training, attempt: int, world_size: int) -> list[Any]:
    """Start all ranks."""
    ranks = [
        _FORK.Process(target=train, args=(training, attempt, rank, world_size), daemon=True)
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    return ranks


def finished(ranks: list[Any]) -> bool:
    """Wait for ranks that nobody kills."""
    end = time.monotonic() + _TIMEOUT_S
    for process in ranks:
        process.join(max(0.1, end - time.monotonic()))
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        process.kill()
    return codes == [0] * len(ranks)


def wait_for_steps(training: Training, attempt: int, ranks: list[Any], number: int) -> None:
    """Wait until the first rank has noted so many steps, or has ended."""
    notes, end = training.notes(attempt, 0), time.monotonic() + _TIMEOUT_S
    while ranks[0].is_alive() and time.monotonic() < end:
        if notes.exists() and notes.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.005)


def kill(ranks: list[Any], rng: random.Random) -> None:
    """Kill all ranks at once, or one of them a moment before the others."""
    first = rng.choice(ranks)
    first.kill()
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, 0.3))
    for process in ranks:
        process.kill()
        process.join()


def counted(training: Training, attempts: int) -> Counter[tuple[int, int, str]]:
    """What was seen, without what came after the state that the next attempt began from."""
    seen: Counter[tuple[int, int, str]] = Counter()
    for attempt in range(attempts):
        limit = training.folder / f"counted-{attempt}"
        steps = int(limit.read_text()) if limit.exists() else sys.maxsize
        for path in training.folder.glob(f"{attempt}-*.jsonl"):
            for line in path.read_text().splitlines()[:steps]:
                seen.update(map(tuple, json.loads(line)))
    return seen


def disturbed(
    training: Training, seconds: float, kills: int, rng: random.Random
) -> tuple[list[str], str | None]:
    """Kill a training some times and let it finish; when it was killed, and what went wrong."""
    training.folder.mkdir()
    moments = []
    for attempt in range(kills):
        ranks = start(training, attempt, rng.choice(_WORLDS))
        if rng.random() < 0.8:
            wait_for_steps(training, attempt, ranks, rng.randint(1, _MAX_STEPS))
            time.sleep(rng.uniform(0, _PAUSE_S))
        else:
            time.sleep(rng.uniform(0, seconds))
        kill(ranks, rng)
        state = json.loads(training.state.read_text()) if training.state.exists() else {}
        steps = state["step"] if state.get("attempt") == attempt else 0
        (training.folder / f"counted-{attempt}").write_text(str(steps))
        moments.append(f"epoch {state['loader']['epoch']}" if steps else "before it saved a state")
    ranks = start(training, kills, rng.choice(_WORLDS))
    return moments, None if finished(ranks) else "the ranks that nobody killed did not end well"


def main() -> None:
    """Write one JSON object; exit code 1 if a sample was lost, repeated or had other pixels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rng, failures, moments = random.Random(options.seed), [], Counter[str]()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_sample_folder(
            folder / "photos", num_classes=2, images_per_class=_NUM_SAMPLES // 2, seed=0
        )
        cache = prepare_cache(SlipstreamDataset(folder / "photos", cache_dir=folder)).cache_dir
        list(make_loader(cache, 1))  # in this process: its children need load no kernels
        alone = Training(cache, folder / "undisturbed")
        alone.folder.mkdir()
        began = time.monotonic()
        assert finished(start(alone, 0, 2)), "a training failed that nothing disturbed"
        seconds = time.monotonic() - began
        expected = counted(alone, 1)
        assert set(expected.values()) == {1}
        assert len(expected) == _NUM_SAMPLES * _EPOCHS
        for run in range(options.runs):
            training = Training(cache, folder / f"run-{run}")
            kills = rng.randrange(1, 4)
            killed, problem = disturbed(training, seconds, kills, rng)
            moments.update(killed)
            found = counted(training, kills + 1)
            if problem is None and found != expected:
                problem = f"lost {len(expected - found)}, too many {len(found - expected)}"
            if problem:
                failures.append({"run": run, "problem": problem})
                print(failures[-1], file=sys.stderr, flush=True)
    result = {
        "runs": options.runs,
        "kills": dict(sorted(moments.items())),
        "seconds": seconds,
        "failures": failures,
    }
    end(result, found=failures)


if __name__ == "__main__":
    main()

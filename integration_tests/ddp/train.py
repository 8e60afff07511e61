"""A small training run under torchrun: trains, notes what it saw, stops or resumes mid-epoch.

torchrun --nproc-per-node N train.py --data DIR --out DIR [--steps S] [--resume FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from slipstream_decoders import DecodeRandomResizedCrop, Normalize
from slipstream_loader import Mixture, SlipstreamDataset, SlipstreamLoader, mix


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mix", type=Path, help="another data set, with a third of every epoch")
    return parser.parse_args()


def make_loader(arguments: argparse.Namespace) -> SlipstreamLoader:
    """The loader of the data set or the mixture, where an earlier run was if it is resumed."""
    caches = arguments.out.parent / "caches"
    dataset: SlipstreamDataset | Mixture = SlipstreamDataset(arguments.data, cache_dir=caches)
    if arguments.mix:
        shares = {"first": 2.0, "second": 1.0}
        dataset = mix({"first": dataset, "second": arguments.mix}, shares, cache_dir=caches)
    loader = SlipstreamLoader(
        dataset,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        drop_last=False,
        pipelines={"image": [DecodeRandomResizedCrop(32), Normalize()]},
        num_threads=1,
    )
    if arguments.resume:
        loader.load_state_dict(json.loads(arguments.resume.read_text()))
    return loader


def notes_on(batch: dict[str, torch.Tensor], epoch: int, loss: float) -> dict[str, object]:
    """What a test wants to know of a batch."""
    padding = batch.get("_padding", torch.zeros(len(batch["_indices"]), dtype=torch.bool))
    pixels = [image.contiguous().numpy().tobytes() for image in batch["image"]]
    return {
        "epoch": epoch,
        "ids": batch["_indices"].tolist(),
        "padding": padding.tolist(),
        "pixels": [hashlib.sha256(values).hexdigest() for values in pixels],
        "loss": loss,
    }


def main() -> None:
    """Train and write ``rank-<r>.json``, and ``state.json`` from rank 0."""
    arguments = parse_arguments()
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    loader = make_loader(arguments)
    network = DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    seen: list[dict[str, object]] = []
    while loader.state_dict()["epoch"] < arguments.epochs and len(seen) < arguments.steps:
        epoch = loader.state_dict()["epoch"]
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(network(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(notes_on(batch, epoch, loss.item()))
            if len(seen) == arguments.steps:
                break
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"rank-{dist.get_rank()}.json").write_text(json.dumps(seen))
    if dist.get_rank() == 0:
        (arguments.out / "state.json").write_text(json.dumps(loader.state_dict()))
    loader.shutdown()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

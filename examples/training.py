"""What both examples share: ranks, checkpoints in the middle of an epoch, the loop.

A checkpoint holds the network, the optimizer and the loader's state, which is a few numbers. A run
that goes on from one sees the samples, and the pixels of them, that it would have seen unbroken.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slipstream_loader.sample_images import write_sample_folder
from visionlab.slipstream import SlipstreamDataset, SlipstreamLoader


def arguments_of(description: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of images; default: made for the purpose")
    parser.add_argument("--out", type=Path, default=Path("run"), help="checkpoints and losses")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32, help="on each rank")
    parser.add_argument("--size", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-every", type=int, default=50, help="steps")
    parser.add_argument("--resume", type=Path, help="a checkpoint")
    return parser.parse_args()


class Run:
    """One process of a training run: its rank, device and data set.

    Parameters
    ----------
    arguments : Namespace
        See ``arguments_of``.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.is_distributed = "LOCAL_RANK" in os.environ
        has_cuda = torch.cuda.is_available()
        self.device = torch.device("cpu")
        if has_cuda:
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        if self.is_distributed:
            dist.init_process_group("nccl" if has_cuda else "gloo")
        self.is_first = not self.is_distributed or dist.get_rank() == 0
        torch.manual_seed(arguments.seed)  # equal weights at the beginning
        arguments.out.mkdir(parents=True, exist_ok=True)
        self.dataset = SlipstreamDataset(self._folder(), cache_dir=arguments.out / "caches")

    def _folder(self) -> Path:
        if self.arguments.data is not None:
            return Path(self.arguments.data)
        folder = Path(self.arguments.out / "photos")
        if self.is_first and not folder.exists():
            write_sample_folder(folder, num_classes=4, images_per_class=100, seed=0)
        if self.is_distributed:
            dist.barrier()
        return folder

    def loader(self, pipelines: Any, **options: Any) -> SlipstreamLoader:
        """A loader whose batches are on this process's device."""
        return SlipstreamLoader(
            self.dataset,
            batch_size=self.arguments.batch_size,
            seed=self.arguments.seed,
            pipelines=pipelines,
            device=self.device,
            verbose=self.is_first,
            **options,
        )

    def train(
        self, network: nn.Module, loader: SlipstreamLoader, loss_of: Callable[..., torch.Tensor]
    ) -> list[float]:
        """Train, save checkpoints, and write the loss of every step to ``losses.json``.

        Parameters
        ----------
        network : Module
        loader : SlipstreamLoader
        loss_of : callable
            (network, batch) -> loss.

        Returns
        -------
        list of float
            The loss of each step, averaged over ranks; with ``--resume``, earlier steps too.
        """
        network.to(self.device, memory_format=torch.channels_last)  # as batches are
        rate = self.arguments.learning_rate
        optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=1e-4)
        losses: list[float] = []
        if self.arguments.resume is not None:
            saved = torch.load(self.arguments.resume, map_location=self.device)
            network.load_state_dict(saved["network"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])
            losses = saved["losses"]
        wrapped = DistributedDataParallel(network) if self.is_distributed else network
        while loader.state_dict()["epoch"] < self.arguments.epochs:
            for batch in loader:
                loss = loss_of(wrapped, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(self.mean(loss))
                if len(losses) % self.arguments.checkpoint_every == 0 and self.is_first:
                    saved = {
                        "network": network.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "loader": loader.state_dict(),
                        "losses": losses,
                    }
                    torch.save(saved, self.arguments.out / f"checkpoint-{len(losses)}.pt")
            if self.is_first:
                epoch = loader.state_dict()["epoch"]
                print(f"epoch {epoch}: loss {sum(losses[-len(loader) :]) / len(loader):.3f}")
        if self.is_first:
            (self.arguments.out / "losses.json").write_text(json.dumps(losses))
        return losses

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a number over all ranks."""
        value = value.detach().clone()
        if self.is_distributed:
            dist.all_reduce(value)
            value /= dist.get_world_size()
        return value.item()

    def end(self) -> None:
        """Leave the other ranks."""
        if self.is_distributed:
            dist.destroy_process_group()

"""Train a ResNet on labelled images, and count how many it gets right.

python examples/train_supervised.py
torchrun --nproc-per-node 2 examples/train_supervised.py --data photos
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18
from training import Run, arguments_of

from visionlab.slipstream.pipelines import supervised_train, supervised_val


def loss_of(network: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    """Cross entropy with the labels."""
    return nn.functional.cross_entropy(network(batch["image"]), batch["label"])


def main() -> None:
    """Train and evaluate."""
    run = Run(arguments_of(__doc__))
    size = run.arguments.size
    network = resnet18(num_classes=len(run.dataset.classes))
    run.train(network, run.loader(supervised_train(size, device=run.device)), loss_of)

    network.eval()
    right = counted = torch.zeros(1, device=run.device)
    pipelines = supervised_val(size, device=run.device)
    for batch in run.loader(pipelines, shuffle=False):
        with torch.no_grad():
            hits = network(batch["image"]).argmax(1) == batch["label"]
        real = ~batch.get("_padding", torch.zeros_like(hits))  # repeats that make ranks equal
        right, counted = right + (hits & real).sum(), counted + real.sum()
    accuracy = run.mean(right) / run.mean(counted)
    if run.is_first:
        print(f"accuracy on the training images: {accuracy:.1%}")
    run.end()


if __name__ == "__main__":
    main()

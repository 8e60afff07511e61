"""Learn from unlabelled images with SimCLR, and see what the nearest neighbours know.

python examples/train_simclr.py
torchrun --nproc-per-node 2 examples/train_simclr.py --data photos

Each rank contrasts the images of its own batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18
from training import Run, arguments_of

from visionlab.slipstream.pipelines import simclr, supervised_val

TEMPERATURE = 0.2


class Network(nn.Module):
    """A ResNet and the projection that the loss sees."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet18(num_classes=128)
        self.projection = nn.Sequential(nn.ReLU(), nn.Linear(128, 64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Directions in the space of the loss, (B, 64)."""
        return nn.functional.normalize(self.projection(self.backbone(images)), dim=1)


def loss_of(network: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    """Tell each view's other view from all other images (Chen et al. 2020, NT-Xent)."""
    views = torch.cat([batch["view_0"], batch["view_1"]])
    directions = network(views)
    similarity = directions @ directions.T / TEMPERATURE
    similarity.fill_diagonal_(-torch.inf)
    partners = torch.arange(len(views), device=views.device).roll(len(views) // 2)
    return nn.functional.cross_entropy(similarity, partners)


def main() -> None:
    """Train, then classify every image by its nearest neighbour."""
    run = Run(arguments_of(__doc__))
    network = Network()
    loader = run.loader(simclr(run.arguments.size, device=run.device))
    run.train(network, loader, loss_of)

    network.eval()
    features, labels = [], []
    pipelines = supervised_val(run.arguments.size, device=run.device)
    for batch in run.loader(pipelines, shuffle=False):
        with torch.no_grad():
            features.append(network.backbone(batch["image"]))
        labels.append(batch["label"])
    directions, label = nn.functional.normalize(torch.cat(features), dim=1), torch.cat(labels)
    nearest = (directions @ directions.T).fill_diagonal_(-1).argmax(1)
    accuracy = run.mean((label[nearest] == label).float().mean())
    if run.is_first:
        print(f"nearest neighbours of the same class: {accuracy:.1%}")
    run.end()


if __name__ == "__main__":
    main()

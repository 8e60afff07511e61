"""The loader inside other people's training loops: each trains real steps and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slipstream_decoders import DecodeRandomResizedCrop, Normalize
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.sample_images import write_sample_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    # the trainers' own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """24 small images in three classes."""
    folder = tmp_path_factory.mktemp("trainers")
    write_sample_folder(folder / "photos", num_classes=3, images_per_class=8, seed=5)
    return SlipstreamDataset(folder / "photos", cache_dir=folder / "caches")


def make_loader(dataset: SlipstreamDataset, **options: Any) -> SlipstreamLoader:
    """Batches of 4 normalised crops."""
    stages = {"image": [DecodeRandomResizedCrop(16), Normalize()]}
    return SlipstreamLoader(dataset, **{"batch_size": 4, "seed": 2, "pipelines": stages, **options})


def network() -> torch.nn.Module:
    """A linear classifier with fixed weights."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))


def test_lightning_trains_validates_and_sets_epochs(
    dataset: SlipstreamDataset, tmp_path: Path
) -> None:
    """Exact lengths, a new order in each epoch, whole validation sets, the place in checkpoints."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.seen: list[tuple[int, ...]] = []
            self.validated = 0

        def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
            self.seen.append(tuple(batch["_indices"].tolist()))
            return torch.nn.functional.cross_entropy(self.net(batch["image"]), batch["label"])

        def validation_step(self, batch: dict[str, Any], _: int) -> None:
            self.validated += len(batch["label"])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    module = Module()
    loader = make_loader(dataset)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, make_loader(dataset, shuffle=False, drop_last=False))
    assert trainer.global_step == len(module.seen) == 2 * len(loader) == 12
    epochs = [[i for batch in module.seen[n : n + 6] for i in batch] for n in (0, 6)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(24))
    assert epochs[0] != epochs[1]
    expected = [[int(i) for batch in make_loader(dataset) for i in batch["_indices"]]]
    assert epochs[0] == expected[0]
    assert module.validated == 48
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)
    states = str(saved["loops"]["fit_loop"]["state_dict"])
    assert loader.cache.manifest.key in states


def test_accelerate_trains(dataset: SlipstreamDataset) -> None:
    """The loader is not prepared (it knows its rank by itself); model and optimiser are."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network()
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), make_loader(dataset)
    )
    losses = []
    for _ in range(15):
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(model(batch["image"]), batch["label"])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert sum(losses[-6:]) < sum(losses[:6])


def test_torchdatas_conventions(dataset: SlipstreamDataset) -> None:
    """``Stateful`` as torchdata means it, and torchdata's nodes around the loader resume it."""
    from torchdata.nodes import IterableWrapper, Loader
    from torchdata.stateful_dataloader import Stateful

    loader = make_loader(dataset)
    assert isinstance(loader, Stateful)
    expected = [batch["_indices"].tolist() for batch in make_loader(dataset)]
    node = Loader(IterableWrapper(loader))
    iterator = iter(node)
    seen = [next(iterator)["_indices"].tolist() for _ in range(2)]
    state = node.state_dict()
    resumed = Loader(IterableWrapper(make_loader(dataset, seed=77)))
    resumed.load_state_dict(state)
    rest = [batch["_indices"].tolist() for batch in resumed]
    assert seen + rest == expected


def test_a_plain_loop_trains_and_resumes_to_the_same_weights(
    dataset: SlipstreamDataset, tmp_path: Path
) -> None:
    """A checkpoint of model, optimiser and loader in the middle of an epoch changes nothing."""

    def train(loader: SlipstreamLoader, model: torch.nn.Module, steps: int) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        while steps:
            for batch in loader:
                loss = torch.nn.functional.cross_entropy(model(batch["image"]), batch["label"])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps -= 1
                if not steps:
                    break

    whole = network()
    train(make_loader(dataset), whole, 16)
    first, loader = network(), make_loader(dataset)
    train(loader, first, 9)
    torch.save({"model": first.state_dict(), "loader": loader.state_dict()}, tmp_path / "x.pt")
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    second, again = network(), make_loader(dataset, seed=None)
    second.load_state_dict(saved["model"])
    again.load_state_dict(saved["loader"])
    train(again, second, 7)
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)

"""torch DataLoader and torchvision: decode_jpeg and transforms v2 on tensors."""

from __future__ import annotations

import torch
import torchvision
from torchvision.transforms import v2
from turns import arguments, photo_paths, serve

options = arguments()
paths = photo_paths(options)
if options.work == "rrc":
    transform = v2.RandomResizedCrop(224, antialias=True)
else:
    transform = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])


class Photos(torch.utils.data.Dataset):
    """Photos, cropped and resized to 224."""

    def __len__(self) -> int:
        return len(paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        data = torchvision.io.read_file(str(paths[index]))
        mode = torchvision.io.ImageReadMode.RGB
        return transform(torchvision.io.decode_jpeg(data, mode)), index


if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(
        Photos(),
        options.batch_size,
        shuffle=True,
        num_workers=options.threads,
        persistent_workers=True,
    )
    serve(lambda: sum(len(batch[0]) for batch in loader), has_children=True)

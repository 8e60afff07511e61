"""torch DataLoader and Pillow: what most people run."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from turns import arguments, photo_paths, random_resized_box, serve

options = arguments()
paths = photo_paths(options)


class Photos(torch.utils.data.Dataset):
    """Photos, cropped and resized to 224."""

    def __len__(self) -> int:
        return len(paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(paths[index]).convert("RGB")
        if options.work == "rrc":
            x, y, width, height = random_resized_box(*image.size)
            image = image.resize((224, 224), Image.BILINEAR, box=(x, y, x + width, y + height))
        else:
            scale = 256 / min(image.size)
            image = image.resize(
                (round(image.width * scale), round(image.height * scale)), Image.BILINEAR
            )
            x, y = round((image.width - 224) / 2), round((image.height - 224) / 2)
            image = image.crop((x, y, x + 224, y + 224))
        return torch.from_numpy(np.array(image)), index


if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(
        Photos(),
        options.batch_size,
        shuffle=True,
        num_workers=options.threads,
        persistent_workers=True,
    )
    serve(lambda: sum(len(batch[0]) for batch in loader), has_children=True)

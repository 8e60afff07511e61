"""Reads shards with webdataset itself; prints what is in them, as JSON.

python integration_tests/old_webdataset/read_back.py "shards/{000000..000002}.tar"
"""

from __future__ import annotations

import json
import sys

import numpy as np


def main(shards: str) -> None:
    """Print the samples in their order: images by their bytes, all else decoded."""
    import webdataset

    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode()
    samples = [
        {
            name: value.hex() if isinstance(value, bytes) else np.asarray(value).tolist()
            for name, value in sample.items()
            if name != "json" and (not name.startswith("__") or name == "__key__")
        }
        | ({"json": sample["json"]} if "json" in sample else {})
        for sample in dataset
    ]
    print(json.dumps(samples))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])

"""Write the data of the notebooks: a recording, an access log, images; generated, not recorded.

python make.py             # into this folder
"""

from __future__ import annotations

from pathlib import Path

from sqrtspace_streams import demos

SIZES = {"audio": 20.0, "logs": 60_000.0, "ml": 60.0}

if __name__ == "__main__":
    for name, size in SIZES.items():
        demo = demos.load(name)
        demo.write(Path(__file__).parent / demo.file_name, size)

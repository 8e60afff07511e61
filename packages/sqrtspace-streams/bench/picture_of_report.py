"""Draw the report of the audio demonstration, as the README shows it.

python bench/picture_of_report.py
"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from sqrtspace_streams import demos
from sqrtspace_streams.demos.runs import demonstrate

if __name__ == "__main__":
    demo = demos.load("audio")
    report = demonstrate("audio", demo.default_size, window=demo.window, hop=demo.hop)
    console = Console(record=True, width=84, file=io.StringIO())
    console.print(report.panel())
    path = Path(__file__).parents[1] / "report.svg"
    path.write_text(console.export_svg(title="sqrtspace demo audio") + "\n", encoding="utf-8")

"""Writes docs/reference/commands.md from the command ``slipstream``; takes no arguments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from slipstream_loader.cli import app
from slipstream_loader.cli.arguments import SourceArgument

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
SOURCES: str = get_args(SourceArgument)[1].help
HEAD = f"""\
# Commands

Made from the commands by `tools/command_reference.py`. Each has `--help`. An error is one line on
stderr and exit code 1; wrong usage is exit code 2; an interrupt is 130.
[What they read from the environment](settings.md).

`SOURCE` is {SOURCES[0].lower()}{SOURCES[1:]}

Pipelines by name are `raw`, `center_crop`, `resize_crop`, `rrc`, `rrc_normalized` and
[the presets](presets.md). [What `bench --json` writes](settings.md#figures-of-slipstream-bench).
The commands of sqrtspace: [streams](streams.md).
"""


def sections(command: Any, name: str = "slipstream") -> Iterator[str]:
    """The sections of a command and of those below it."""
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from sections(below, f"{name} {word}")
        return
    rows, words = [], []
    for given in command.params:
        default = "" if given.default in (None, False, True) else f" Default: {given.default}."
        spelled = ", ".join((*given.opts, *getattr(given, "secondary_opts", ())))
        if not spelled.startswith("--"):
            spelled = given.name.upper()
            words.append(spelled if given.required else f"[{spelled}]")
        if given.help != SOURCES:
            text = f"{given.help}{default}".replace("|", "\\|")
            rows.append(f"| `{spelled}` | {text} |")
    yield "\n".join(
        (
            f"## {name.removeprefix('slipstream ')}\n",
            f"`{' '.join((name, *words))}`: {command.help.splitlines()[0]}\n",
            "| | |\n|---|---|",
            *rows,
            "",
        )
    )


def page() -> str:
    """The page's text."""
    return "\n".join((HEAD, *sections(typer.main.get_command(app))))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

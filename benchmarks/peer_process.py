"""Peers: other loaders, each a script in ``peers/`` that is run by an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rounds import Turn

PEERS = {
    "ffcv": "ffcv",
    "dali": "nvidia.dali",
    "pillow": "torch, PIL",
    "torchvision": "torchvision",
    "spdl": "spdl.io",
}
"""Name of a peer -> the modules that it needs."""


def installed_peers(python: Path) -> list[str]:
    """The peers whose modules an interpreter has."""
    return [
        name
        for name, modules in PEERS.items()
        if subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode == 0
    ]


class PeerProcess:
    """A peer that runs an epoch when it is called; a context manager.

    Parameters
    ----------
    name : str
        Of ``PEERS``.
    python : Path
        The interpreter of its environment.
    folder : Path
        Of photos.
    options : sequence of str
        See ``peers/turns.py``.
    work : Path, optional
        Where it writes files of its own; default: where temporary files are.
    """

    def __init__(
        self,
        name: str,
        python: Path,
        folder: Path,
        options: Sequence[object],
        work: Path | None = None,
    ) -> None:
        self.name = name
        script = Path(__file__).parent / "peers" / f"{name}_peer.py"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            [python, script, folder, *map(str, options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ if work is None else {**os.environ, "TMPDIR": str(work)},
        )

    def __call__(self) -> Turn:
        """Run one epoch and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("epoch\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            self._process.kill()
            self._errors.seek(0)
            text = self._errors.read()[-2000:]
            raise RuntimeError(f"peer {self.name} failed:\n{text}") from error
        if not answer["images"]:
            self._errors.seek(0)
            raise RuntimeError(f"peer {self.name} served no image:\n{self._errors.read()[-2000:]}")
        return Turn(int(answer["images"]), float(answer["seconds"]), answer["cpu_seconds"])

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

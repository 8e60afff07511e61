"""An alert that walks back to where its cause began.

A level rises slowly out of noise. When the smoothed level passes a threshold, the windows before
are looked at from the last to the first, until the level is that of the noise. They are not kept:
the few that are looked at are computed again, from the nearest checkpoint of the kernel.
"""

from __future__ import annotations

import argparse

import numpy as np

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams.sources import CallableSource

WINDOW = 256


def recording(rise_at: int, num_windows: int) -> CallableSource:
    """Noise whose level begins to rise at a window; computed when it is read."""

    def read(start: int, count: int) -> np.ndarray:
        blocks = range(start // WINDOW, -(-(start + count) // WINDOW))
        noise = [np.random.default_rng(t).standard_normal(WINDOW) for t in blocks]
        samples = np.concatenate(noise)[start - blocks[0] * WINDOW :][:count]
        t = np.arange(start, start + count) / WINDOW
        return (samples * (1 + np.maximum(t - rise_at, 0) * 0.02)).astype("float32")

    return CallableSource(read, num_windows * WINDOW)


class Level(Kernel):
    """A slowly fading mean of the energy."""

    def init_state(self, shape: object, dtype: object) -> dict[str, float]:  # noqa: ARG002
        """The energy of the noise."""
        return {"level": 1.0}

    def step(self, x_block: np.ndarray, state: dict[str, float]) -> tuple[np.ndarray, dict]:
        """One window."""
        level = 0.9 * state["level"] + 0.1 * float(np.mean(x_block[0] ** 2))
        return np.array([level]), {"level": level}


def main() -> None:
    """Raise the alert and rewind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=20_000)
    arguments = parser.parse_args()
    rise_at = arguments.windows * 9 // 10
    pipe = SqrtSpacePipeline(window=WINDOW, hop=WINDOW, checkpoint_every=64, mode="sqrt")
    pipe.kernel("level")(Level)
    pipe.bind(recording(rise_at, arguments.windows))
    alert = None
    for first, levels in pipe.blocks("level"):
        above = np.flatnonzero(levels > 4)
        if len(above):
            alert = first + int(above[0])
            break
    assert alert is not None
    print(f"alert at window {alert}")
    onset = alert
    for first, levels in pipe.blocks_reversed("level", (0, alert)):
        calm = np.flatnonzero(levels < 1.1)
        if len(calm):
            onset = first + int(calm[-1]) + 1
            break
    assert pipe.last_reversal is not None
    print(f"the level began to rise at window {onset}; the recording's at {rise_at}")
    print(f"{pipe.last_reversal.steps} windows computed again for that, of {alert}")
    assert abs(onset - rise_at) < 20
    assert pipe.last_reversal.steps < 600


if __name__ == "__main__":
    main()

"""Random pipelines with an answer that is computed without the engine.

For tests of this package and for its campaign: `random_case` draws a graph and a signal, `answer`
evaluates it stage by stage on whole arrays, `build` makes the pipeline.
"""

# ruff: noqa: ARG002
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from sqrtspace_streams._calls import window_rng
from sqrtspace_streams._rows import Array, has_same_bits
from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.config import Config
from sqrtspace_streams.pipeline import SqrtSpacePipeline
from sqrtspace_streams.sources import CallableSource

_SEED = 7


class DecayingMaximum(Kernel):
    """Largest value so far, fading; changes its state in place."""

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        """Nothing seen."""
        return {"maximum": np.full(shape, -np.inf), "steps": 0}

    def step(self, x_block: Any, state: dict[str, Any], *, decay: float = 0.875, **kw: Any) -> Any:
        """One window or more."""
        out = np.empty(x_block.shape)
        for i, row in enumerate(x_block):
            state["maximum"] *= decay
            np.maximum(state["maximum"], row, out=state["maximum"])
            out[i] = state["maximum"]
            state["steps"] += 1
        return out, state


class FirstOrder(Kernel):
    """``y[t] = x[t] + a * y[t - 1]``, window by window; a block gives the same bits."""

    chunk_invariant = True

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        """Zero."""
        return {"y": np.zeros(shape)}

    def step(self, x_block: Any, state: dict[str, Any], *, a: float = 0.5, **kw: Any) -> Any:
        """One window or more."""
        y, out = state["y"], np.empty(x_block.shape)
        for i, row in enumerate(x_block):
            y = row + a * y
            out[i] = y
        return out, {"y": y}


class PairCounter(Kernel):
    """Counts the windows in which its first input exceeds its second; integers."""

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        """None."""
        return {"count": [0]}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        """One window."""
        a, b = x_block
        above = (a.max(axis=1) > b.max(axis=1)).astype(np.int64)
        counts = state["count"][0] + np.cumsum(above)
        return counts[:, None], {"count": [int(counts[-1])]}


@dataclass(frozen=True)
class Node:
    """A stage of a random graph."""

    name: str
    inputs: list[str]
    function: Callable[..., Any] | None = None
    kernel: type[Kernel] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A random graph over a random signal."""

    window: int
    hop: int
    block_rows: int
    signal: Array
    nodes: list[Node]

    @property
    def num_windows(self) -> int:
        """Full windows."""
        rest = len(self.signal) - self.window
        return 0 if rest < 0 else rest // self.hop + 1


def random_case(rng: np.random.Generator) -> Case:
    """Draw a graph of up to seven stages, a window, a hop and a signal."""
    window = int(rng.choice([1, 2, 7, 16, 33, 64, 257]))
    hop = int(rng.choice([1, 3, 8, 16, 50, 64, 300]))
    samples = int(rng.integers(0, 150)) * hop + int(rng.integers(0, window + hop))
    signal = rng.standard_normal(samples)
    if rng.random() < 0.2 and samples:
        signal[rng.integers(0, samples, 3)] = [np.nan, np.inf, -np.inf]
    dtype = rng.choice(["float32", "float64", "int16", "complex64"], p=[0.6, 0.2, 0.1, 0.1])
    if dtype == "int16":
        signal = np.nan_to_num(signal * 1000, posinf=9, neginf=-9)
    nodes: list[Node] = []
    for index in range(int(rng.integers(1, 8))):
        names = [node.name for node in nodes]
        inputs = ["input"] if not names else [str(rng.choice([*names, names[-1], "input"]))]
        nodes.append(_random_node(rng, f"s{index}", inputs, [*names, "input"]))
    block_rows = int(rng.choice([1, 2, 5, 16]))
    return Case(window, hop, block_rows, signal.astype(dtype), nodes)


def _random_node(rng: np.random.Generator, name: str, inputs: list[str], names: list[str]) -> Node:
    kind = int(rng.integers(0, 10))
    if kind == 0:
        return Node(name, inputs, _scaled, options={"batch_invariant": True})
    if kind == 1:
        return Node(name, inputs, _spectrum, options={"batch_invariant": True})
    if kind == 2:
        weights = rng.standard_normal((16, int(rng.integers(1, 9)))).astype("float32")
        return Node(name, inputs, _Projection(weights))
    if kind == 3:
        return Node(name, inputs, _statistics)
    if kind == 4:
        return Node(name, inputs, _sorted, options={"vectorized": False})
    if kind == 5:
        left, right = (int(n) for n in rng.integers(0, 4, 2))
        pad = str(rng.choice(["edge", "zero"]))
        options = {
            "context": (left, right),
            "pad": pad,
            "batch_invariant": bool(rng.random() < 0.5),
        }
        return Node(name, inputs, _Neighbours(left + right), options=options)
    if kind == 6:
        return Node(name, inputs, _noisy, options={"vectorized": False})
    if kind == 7:
        return Node(name, [*inputs, str(rng.choice(names))], _mixed)
    if kind == 8:
        kernel = DecayingMaximum if rng.random() < 0.5 else FirstOrder
        return Node(name, inputs, kernel=kernel)
    return Node(name, [*inputs, str(rng.choice(names))], kernel=PairCounter)


def build(case: Case, **config: Any) -> SqrtSpacePipeline:
    """The pipeline of a case; ``config`` has what leaves no trace in results."""
    meaning: Config = {"window": case.window, "hop": case.hop, "block_rows": case.block_rows}
    options = cast("Config", {**config, **meaning, "dtype": case.signal.dtype, "seed": _SEED})
    pipe = SqrtSpacePipeline(**options)
    for node in case.nodes:
        if node.kernel:
            pipe.kernel(node.name, node.inputs)(_real(node.kernel))
        else:
            assert node.function is not None
            pipe.stage(node.name, node.inputs, **node.options)(node.function)
    return pipe


def answer(case: Case) -> dict[str, Array]:
    """All rows of all stages, one stage after another on whole arrays."""
    starts = np.arange(case.num_windows) * case.hop
    rows = {"input": case.signal[starts[:, None] + np.arange(case.window)]}
    if not case.num_windows:
        return {}
    for node in case.nodes:
        inputs = [rows[name] for name in node.inputs]
        rows[node.name] = _kernel_rows(node, inputs) if node.kernel else _rows(case, node, inputs)
    return rows


def _rows(case: Case, node: Node, inputs: list[Array]) -> Array:
    count = case.num_windows
    function: Callable[..., Any] = node.function or _scaled
    left, right = node.options.get("context", (0, 0))
    if not node.options.get("vectorized", True):
        keywords = [{"rng": window_rng(_SEED, node.name, t)} for t in range(count)]
        given = keywords if function is _noisy else [{}] * count
        return np.stack([function(*(x[t] for x in inputs), **given[t]) for t in range(count)])
    if node.options.get("batch_invariant"):
        blocks = [(0, count)]
    else:
        size = case.block_rows
        blocks = [(t, t + size) for t in range(0, count, size)]
    parts = []
    for lo, hi in blocks:
        index = np.minimum(np.arange(lo - left, hi + right), min(hi, count) - 1 + right)
        arrays = []
        for x in inputs:
            block = x[np.clip(index, 0, count - 1)]
            if node.options.get("pad") == "zero":
                block[(index < 0) | (index >= count)] = 0
            arrays.append(block)
        parts.append(function(*arrays)[: min(hi, count) - lo])
    return np.concatenate(parts)


def _kernel_rows(node: Node, inputs: list[Array]) -> Array:
    assert node.kernel is not None
    kernel = _real(node.kernel)()
    x = [_real_part(values) for values in inputs]
    single = len(x) == 1
    shapes, dtypes = tuple(v.shape[1:] for v in x), tuple(v.dtype for v in x)
    state = kernel.init_state(shapes[0] if single else shapes, dtypes[0] if single else dtypes)
    rows = []
    for t in range(len(x[0])):
        block = tuple(v[t : t + 1] for v in x)
        row, state = kernel.step(block[0] if single else block, state)
        rows.append(row)
    return np.concatenate(rows)


def _real(kernel: type[Kernel]) -> type[Kernel]:
    """The kernel, given the real part of its inputs."""

    class Real(kernel):  # type: ignore[valid-type, misc]
        def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
            if isinstance(x_block, tuple):
                return super().step(tuple(map(_real_part, x_block)), state)
            return super().step(_real_part(x_block), state)

    return Real


def _real_part(x: Array) -> Array:
    part: Array = np.ascontiguousarray(x.real).astype(np.float64)
    return part


def _scaled(x: Array) -> Array:
    scaled: Array = x * x.dtype.type(3) + x.dtype.type(1)
    return scaled


def _spectrum(x: Array) -> Array:
    spectrum: Array = np.abs(np.fft.fft(x, 16))
    return spectrum


def _statistics(x: Array) -> Array:
    return np.stack([x.mean(axis=1), x.sum(axis=1)], axis=1)


def _sorted(x: Array) -> Array:
    least: Array = np.sort(x)[:5]
    return least


def _noisy(x: Array, *, rng: np.random.Generator) -> Array:
    return x + rng.standard_normal(len(x))


def _mixed(a: Array, b: Array) -> Array:
    size = min(a.shape[1], b.shape[1])
    mixed: Array = a[:, :size] - 2 * b[:, :size]
    return mixed


class _Projection:
    """A matrix product, whose last bits depend on the block."""

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def __call__(self, x: Array) -> Array:
        size = min(x.shape[1], len(self.weights))
        product: Array = x[:, :size] @ self.weights[:size]
        return product


class _Neighbours:
    """A weighted sum of a window and those around it."""

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def __call__(self, x: Array) -> Array:
        count = len(x) - self.reach
        total = x[:count] * 1
        for i in range(1, self.reach + 1):
            total = total + x[i : i + count] * (i + 1)
        return total


def try_draw(seed: int) -> int:
    """Evaluate one random case in random ways; return how many windows were compared.

    Raises
    ------
    AssertionError
        If bytes differ from the answer.
    """
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    target = str(rng.choice([node.name for node in case.nodes]))
    with np.errstate(all="ignore"):
        expected = answer(case).get(target)
        asked = [_ask_whole, _ask_ranges, _ask_blocks, _ask_iterator, _ask_pulled, _ask_reversed]
        ways = [_ask_classic, *rng.choice(np.array(asked, object), 2, replace=False)]
        return sum(way(case, target, expected, rng) for way in ways)


def random_config(rng: np.random.Generator) -> dict[str, Any]:
    """Options that leave no trace in results."""
    return {
        "mode": str(rng.choice(["sqrt", "auto"])),
        "tile": int(rng.choice([0, 1, 16, 48, 100])),
        "checkpoint_every": int(rng.choice([1, 3, 16, 50])),
        "slots": int(rng.choice([0, 1, 2, 7])),
        "ring": str(rng.choice(["auto", "window", "thin", "all"])),
        "lru_bytes": int(rng.choice([0, 500, 10_000, 1 << 24])),
        "max_workers": int(rng.choice([1, 1, 2, 4])),
    }


def _compare(found: Array, expected: Array | None, t0: int, t1: int, way: str) -> int:
    part = expected[t0:t1] if expected is not None else None
    if part is None or not len(part):
        assert len(found) == 0, f"{way}: {found.shape} of an empty range"
        return 0
    same = found.shape == part.shape and found.dtype == part.dtype
    assert same, f"{way}: {found.dtype} {found.shape}, expected {part.dtype} {part.shape}"
    assert has_same_bits(found, part), f"{way}: bytes of windows [{t0}, {t1}) differ"
    return len(part)


def _ask_classic(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    pipe = build(case, mode="classic")
    pipe.bind(case.signal)
    count = _compare(pipe.evaluate(target), expected, 0, case.num_windows, "classic")
    t0, t1 = np.sort(rng.integers(0, case.num_windows + 1, 2)).tolist()
    return count + _compare(pipe.evaluate(target, (t0, t1)), expected, t0, t1, "classic range")


def _ask_whole(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng)
    pipe = build(case, **config)
    signal, count = case.signal, case.num_windows
    read = lambda start, n: signal[start : start + n]  # noqa: E731
    pipe.bind(CallableSource(read, len(signal), dtype=signal.dtype))
    compared = _compare(pipe.evaluate(target, (0, count)), expected, 0, count, f"whole {config}")
    for t in rng.integers(0, count, 3).tolist() if count else ():
        t -= t % config["checkpoint_every"]  # where a checkpoint may be
        compared += _compare(pipe.evaluate(target, (t, t + 1)), expected, t, t + 1, f"one {config}")
    return compared


def _ask_ranges(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng)
    pipe, compared = build(case, **config), 0
    pipe.bind(case.signal)
    for _ in range(4):
        size = int(rng.choice([1, 5, case.num_windows + 1]))
        t0 = int(rng.integers(0, case.num_windows + 1))
        t1 = min(t0 + size, case.num_windows)
        found = pipe.evaluate(target, (t0, t1))
        compared += _compare(found, expected, t0, t1, f"range {config}")
    return compared


def _ask_blocks(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng)
    pipe, compared = build(case, **config), 0
    pipe.bind(case.signal)
    for first, rows in pipe.blocks(target):
        stop = first + len(rows)
        compared += _compare(rows, expected, first, stop, f"block {config}")
    assert compared == case.num_windows, f"{compared} windows came in blocks, {config}"
    return compared


def _ask_reversed(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng)
    pipe, compared = build(case, **config), 0
    pipe.bind(case.signal)
    if rng.random() < 0.5:
        pipe.evaluate(target)  # which leaves checkpoints
    end = case.num_windows
    for first, rows in pipe.blocks_reversed(target):
        compared += _compare(rows, expected, first, end, f"reversed {config}")
        end = first
    assert end == 0, f"windows before {end} never came, {config}"
    if expected is None:
        return compared
    pipe.reverse_kernel("back", [target])(_real(DecayingMaximum))
    node = Node("back", [target], kernel=DecayingMaximum)
    back = _kernel_rows(node, [expected[::-1]])[::-1]
    t0, t1 = np.sort(rng.integers(0, case.num_windows + 1, 2)).tolist()
    found = pipe.evaluate("back", (t0, t1))
    return compared + _compare(found, back, t0, t1, f"back {config}")


def _pieces(case: Case, rng: Any) -> list[Array]:
    cuts = np.sort(rng.integers(0, len(case.signal) + 1, int(rng.integers(0, 12))))
    pieces: list[Array] = np.split(case.signal, cuts)
    return pieces


def _ask_iterator(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng)
    pipe = build(case, **config)
    pipe.bind(iter(_pieces(case, rng)))
    return _compare(pipe.evaluate(target), expected, 0, case.num_windows, f"iterator {config}")


def _ask_pulled(case: Case, target: str, expected: Array | None, rng: Any) -> int:
    config = random_config(rng) | {"input_buffer_blocks": int(rng.choice([50, 64]))}
    pipe, pulled = build(case, **config), []
    end = case.num_windows
    for piece in _pieces(case, rng):
        for _ in pipe.push_all(piece):
            pulled.append(pipe.pull_until(end, target))
        if rng.random() < 0.5:
            pulled.append(pipe.pull_until(int(rng.integers(0, end + 1)), target))
    pipe.close()
    pulled.append(pipe.pull_until(end, target))
    rows = [part for part in pulled if len(part)]
    found = np.concatenate(rows) if rows else pulled[0]
    return _compare(found, expected, 0, end, f"pulled {config}")

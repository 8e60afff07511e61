"""The native decoder against one in plain Python, written from the standard: tiny images."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import DecodeStatus, EncodedBatch
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.seek_points import build_seek_points

_DIAGONALS = sorted(
    ((r, c) for r in range(8) for c in range(8)),
    key=lambda place: (sum(place), place[0] if sum(place) % 2 else place[1]),
)
_ZIGZAG = [8 * row + column for row, column in _DIAGONALS]


class _Bits:
    """Bits of one restart interval."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data.replace(b"\xff\x00", b"\xff"))
        self._at = 0

    def take(self, num: int) -> int:
        self._at += num
        return int(self._bits[self._at - num : self._at] or "0", 2)

    def symbol(self, codes: dict[str, int]) -> int:
        start = self._at
        while self._bits[start : self._at] not in codes:
            self._at += 1
        return codes[self._bits[start : self._at]]

    def value(self, size: int) -> int:
        bits = self.take(size)
        return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1


def _codes(counts: bytes, symbols: bytes) -> dict[str, int]:
    """Canonical codes as strings of 0 and 1."""
    codes, code, remaining = {}, 0, iter(symbols)
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[f"{code:0{length}b}"] = next(remaining)
            code += 1
        code <<= 1
    return codes


def _segments(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while True:
        code, size = payload[at + 1], int.from_bytes(payload[at + 2 : at + 4], "big")
        yield code, payload[at + 4 : at + 2 + size]
        at += 2 + size
        if code == 0xDA:
            yield 0, payload[at:-2]
            return


def _inverse_dct(block: NDArray[np.int64]) -> NDArray[np.uint8]:
    """jidctint on one block, with the factors of its paper (Loeffler, Ligtenberg, Moschytz)."""
    factors = [round(f * 8192) for f in (0.541196100, 1.847759065, 0.765366865, 1.175875602)]
    odd_factors = [0.298631336, 2.053119869, 3.072711026, 1.501321110]
    sums = [0.899976223, 2.562915447, 1.961570560, 0.390180644]
    a, b, c, d = (round(f * 8192) for f in odd_factors)
    e, f, g, h = (round(s * 8192) for s in sums)

    def one(v: NDArray[np.int64], shift: int, centre: int) -> NDArray[np.int64]:
        z1 = (v[2] + v[6]) * factors[0]
        low, high = z1 - v[6] * factors[1], z1 + v[2] * factors[2]
        total, difference = (v[0] + v[4]) << 13, (v[0] - v[4]) << 13
        even = [total + high, difference + low, difference - low, total - high]
        z5 = (v[7] + v[3] + v[5] + v[1]) * factors[3]
        z1, z2 = -(v[7] + v[1]) * e, -(v[5] + v[3]) * f
        z3, z4 = z5 - (v[7] + v[3]) * g, z5 - (v[5] + v[1]) * h
        odd = [v[1] * d + z1 + z4, v[3] * c + z2 + z3, v[5] * b + z2 + z4, v[7] * a + z1 + z3]
        outputs = [x + y for x, y in zip(even, odd, strict=True)]
        outputs += [x - y for x, y in zip(even[::-1], odd[::-1], strict=True)]
        return (np.stack(outputs) + (1 << (shift - 1)) + (centre << shift)) >> shift

    columns = one(block.reshape(8, 8), 11, 0)
    return np.clip(one(columns.T, 18, 128).T, 0, 255).astype(np.uint8)


def _twin(payload: bytes) -> list[NDArray[np.uint8]]:
    """Planes of whole MCUs of a sound baseline file."""
    tables: dict[int, dict[str, int]] = {}
    factors: dict[int, list[int]] = {}
    frame, scan, data, interval = b"", b"", b"", 0
    for code, content in _segments(payload):
        while code == 0xDB and content:
            factors[content[0]], content = list(content[1:65]), content[65:]
        while code == 0xC4 and content:
            end = 17 + sum(content[1:17])
            tables[content[0]] = _codes(content[1:17], content[17:end])
            content = content[end:]
        if code in (0xC0, 0xC1):
            frame = content
        elif code == 0xDA:
            scan = content
        elif code == 0xDD:
            interval = int.from_bytes(content, "big")
        elif code == 0:
            data = content
    height, width, num = (*np.frombuffer(frame[1:5], ">u2").tolist(), frame[5])
    sampled = [(frame[7 + 3 * c] & 15, frame[7 + 3 * c] >> 4) for c in range(num)]
    sampled = sampled if num > 1 else [(1, 1)]
    rows, across = -(-height // (8 * sampled[0][0])), -(-width // (8 * sampled[0][1]))
    planes = [np.zeros((8 * v * rows, 8 * h * across), np.uint8) for v, h in sampled]
    pieces = _intervals(data, interval)
    bits, predictors = _Bits(next(pieces)), [0] * num
    for mcu in range(rows * across):
        if interval and mcu and mcu % interval == 0:
            bits, predictors = _Bits(next(pieces)), [0] * num
        for c, (down, wide) in enumerate(sampled):
            numbers = scan[2 + 2 * c]
            for y in range(mcu // across * down, (mcu // across + 1) * down):
                for x in range(mcu % across * wide, (mcu % across + 1) * wide):
                    block = _block(bits, tables[numbers >> 4], tables[16 + (numbers & 15)])
                    predictors[c] += block[0]
                    block[0] = predictors[c]
                    natural = np.zeros(64, np.int64)
                    natural[_ZIGZAG] = np.array(block) * factors[frame[8 + 3 * c]]
                    planes[c][8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = _inverse_dct(natural)
    return planes


def _intervals(data: bytes, interval: int) -> Iterator[bytes]:
    """The scan, divided at its restart markers."""
    start = 0
    for at in range(len(data) - 1):
        if interval and data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7:
            yield data[start:at]
            start = at + 2
    yield data[start:]


def _block(bits: _Bits, dc: dict[str, int], ac: dict[str, int]) -> list[int]:
    """64 coefficients in zigzag order, the first one as a difference."""
    block = [bits.value(bits.symbol(dc))]
    while len(block) < 64:
        symbol = bits.symbol(ac)
        if symbol == 0:
            break
        block += [0] * (symbol >> 4)
        block.append(bits.value(symbol & 15))
    return block + [0] * (64 - len(block))


def _check(payload: bytes) -> None:
    batch = EncodedBatch.from_payloads([payload])
    points = build_seek_points(batch)
    assert points.statuses[0] == DecodeStatus.OK
    pointed = batch.with_seek_points(points.data, points.offsets, points.sizes)
    expected = _twin(payload)
    decoder = NativeDecoder()
    status, planes = decoder.planes(batch, 0)
    assert status == DecodeStatus.OK
    for plane, reference in zip(planes, expected, strict=True):
        np.testing.assert_array_equal(plane, reference)
    rows, across = int(decoder.header[7]), int(decoder.header[8])
    _, last = decoder.planes(pointed, 0, (across - 1, rows - 1, across, rows))
    for plane, reference in zip(last, expected, strict=True):
        height, width = plane.shape
        np.testing.assert_array_equal(plane, reference[-height:, -width:])


def _jpeg(mode: str, height: int, width: int, **options: object) -> bytes:
    rng = np.random.default_rng(height * width)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [5, 60, 95, 100])
def test_tiny_images_are_the_twins(mode: str, quality: int) -> None:
    """Noise, with every sampling that Pillow writes, restart intervals and optimised tables."""
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for options in ({}, {"optimize": True, "restart_marker_blocks": 2}):
            _check(_jpeg(mode, 21, 35, quality=quality, subsampling=sampling, **options))


@pytest.mark.parametrize(
    ("factors", "height", "width"),
    [(0x42, 16, 32), (0x41, 16, 64), (0x14, 64, 16), (0x12, 32, 24), (0x24, 32, 16)],
)
def test_samplings_that_nobody_writes_are_the_twins(factors: int, height: int, width: int) -> None:
    """The blocks of a gray image, called blocks of three components: 4:1:0, 4:1:1 and upright."""
    blocks = (factors >> 4) * (factors & 15) + 2
    mcus = height * width // (64 * (blocks - 2))
    gray = _jpeg("L", 8, 8 * blocks * mcus, quality=80)
    at = gray.index(b"\xff\xc0")
    components = bytes([1, factors, 0, 2, 0x11, 0, 3, 0x11, 0])
    sizes = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    frame = b"\xff\xc0\x00\x11\x08" + sizes + b"\x03" + components
    payload = gray[:at] + frame + gray[at + 13 :]
    at = payload.index(b"\xff\xda")
    scan = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00"
    _check(payload[:at] + scan + payload[at + 10 :])

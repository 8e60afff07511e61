"""Several crops of an image from one decode: pixels, laws of randomness, forms of the result."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    Boxes,
    CorruptImageError,
    DecodeCenterCrop,
    DecodeDirectRandomResizedCrop,
    DecodeMultiRandomResizedCrop,
    DecodeMultiRandomResizeShortCropLong,
    DecodeMultiResizeCropEmbed,
    DecodeRandomResizedCrop,
    DecodeRandomResizeShortCropLong,
    DecodeResizeCrop,
    DecodeUniformMultiRandomResizedCrop,
    EncodedBatch,
    MultiCropPipeline,
    NamedCopies,
    Stage,
    ToTorchImage,
    View,
    build_seek_points,
    crop_views,
    find_turbojpeg,
    run_stages,
)
from slipstream_decoders._kernels.crops import (
    DecodedPlanes,
    Region,
    crops_from_planes,
    work_bytes_for,
)
from slipstream_decoders._kernels.jpeg.cover import cover_boxes, most_rectangles
from slipstream_decoders._kernels.planar_output import UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import resize_planar
from slipstream_decoders.views import addresses_of, crops_of

SIDES = [(190, 270), (33, 320), (264, 264), (1, 1), (350, 201), (77, 31), (2, 90), (16, 300)]
ALL = list(range(len(SIDES)))
NAME = "DecodeMultiRandomResizedCrop"
CROPS = {
    "global": {"size": 40, "scale": (0.3, 1.0)},
    "local": {"size": (17, 24), "scale": (0.05, 0.3), "ratio": (1.0, 1.0)},
    "tiny": {"size": 1, "scale": (0.01, 0.02)},
}
ENGINES = [
    "native",
    "pillow",
    pytest.param(
        "turbojpeg",
        marks=pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library"),
    ),
]


def _payload(height: int, width: int, *, mode: str = "RGB", orientation: int = 0) -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    image = coarse.resize((width, height)).convert(mode)
    image.save(file, "JPEG", quality=92, subsampling=["4:2:0", "4:4:4"][height % 2], exif=exif)
    return file.getvalue()


PAYLOADS = [_payload(*sides) for sides in SIDES]
BATCH = EncodedBatch.from_payloads(PAYLOADS)


@pytest.fixture(scope="module")
def pointed() -> EncodedBatch:
    """``BATCH`` with seek points: decoding kernels make them, which no import should wait for."""
    points = build_seek_points(BATCH)
    return BATCH.with_seek_points(points.data, points.offsets, points.sizes)


def _context(ids: list[int] = ALL, **changes: int) -> BatchContext:
    return BatchContext(np.array(ids, np.int64), **{"seed": 5, **changes})


def _views(stage: Stage, batch: EncodedBatch = BATCH) -> dict[str, torch.Tensor]:
    return run_stages([stage], batch, _context())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("quality", ["fast", "exact"])
@pytest.mark.parametrize("mode", ["standard", "direct"])
def test_pixels_are_those_of_separate_decodes(
    pointed: EncodedBatch, engine: str, quality: str, mode: str
) -> None:
    """Bit for bit, with and without seek points, for every engine and quality."""
    options = {"engine": engine, "quality": quality}
    multi = DecodeMultiRandomResizedCrop(CROPS, crop_mode=mode, **options)  # type: ignore[arg-type]
    law = DecodeRandomResizedCrop if mode == "standard" else DecodeDirectRandomResizedCrop
    for batch in (BATCH, pointed):
        views = _views(multi, batch)
        assert list(views) == list(CROPS)
        for name, arguments in CROPS.items():
            single = law(**arguments, **options)  # type: ignore[arg-type]
            alone = single.apply(batch, _context().in_view(name).in_stage(NAME))
            assert torch.equal(views[name], alone)
            assert alone.is_contiguous(memory_format=torch.channels_last) or alone.shape[2] == 1


@settings(max_examples=15)
@given(data=st.data(), quality=st.sampled_from(["fast", "exact"]), flip=st.booleans())
def test_any_boxes_of_one_decode_give_the_pixels_of_each_alone(
    pointed: EncodedBatch, data: st.DataObject, quality: str, flip: bool
) -> None:
    """Near or far apart, overlapping or not, to any size, mirrored or not."""
    row = data.draw(st.sampled_from([0, 2, 4]))
    height, width = SIDES[row]
    batch = pointed.take(np.array([row]))
    views = []
    for _ in range(data.draw(st.integers(1, 5))):
        x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
        size = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)))
        box = Boxes.of_crops(np.array([[x, y, w, h]], np.int32))
        views.append(View(box, size, flips=np.array([flip])))
    context = BatchContext(np.zeros(1, np.int64), seed=0)
    together = crop_views(batch, views, context, quality=quality)  # type: ignore[arg-type]
    for view, images in zip(views, together, strict=True):
        (alone,) = crop_views(batch, [view], context, quality=quality)  # type: ignore[arg-type]
        np.testing.assert_array_equal(images, alone)


@settings(max_examples=20)
@given(data=st.data(), ratio=st.sampled_from([1, 2, 4]))
def test_what_a_resize_may_touch_is_all_that_it_touches(data: st.DataObject, ratio: int) -> None:
    """A window inside of larger bounds: filters over the touched part are those over the bounds."""
    height, width = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    rng = np.random.default_rng(height * 1000 + width)
    luma = rng.integers(0, 256, (height, width), np.uint8)
    chroma = rng.integers(0, 256, (2, -(-height // ratio), -(-width // ratio)), np.uint8)
    w, h = data.draw(st.integers(1, 64)) / 64 * width, data.draw(st.integers(1, 64)) / 64 * height
    x, y = data.draw(st.integers(0, 16)) / 16, data.draw(st.integers(0, 16)) / 16
    window = np.array([[x * (width - w), y * (height - h), w, h]])
    bounds = np.array([[0, 0, width, height]], np.int32)
    size = (data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50)))
    tight, full = np.zeros((2, 1, *size, 3), np.uint8)
    crops = crops_of([View(Boxes(window, bounds), size)], addresses_of(tight)[None])
    work = np.zeros(work_bytes_for(crops, np.zeros(1, np.int64)), np.uint8)
    blue, red = (plane.ctypes.data for plane in chroma)
    pitch = chroma.shape[2]
    planes = DecodedPlanes(luma.ctypes.data, width, blue, red, pitch, ratio, ratio)
    region = Region(0, 0, width, height)
    assert crops_from_planes(planes, region, crops, 0, work.ctypes.data, work.nbytes) == 0
    status = resize_planar(
        *planes,
        *(height, width),
        *window[0].tolist(),
        *bounds[0].tolist(),
        *(False, UINT8_PIXELS, full.ctypes.data, 3 * size[1], *size, 0),
        *(work.ctypes.data, work.nbytes),
    )
    assert status == 0
    np.testing.assert_array_equal(tight, full)


_box = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)


@given(boxes=st.lists(_box, min_size=1, max_size=6), gap=st.integers(0, 4))
def test_rectangles_cover_what_the_boxes_touch_once(
    boxes: list[tuple[int, int, int, int]], gap: int
) -> None:
    """No cell of a box is missing, none is covered twice, and gaps are only bridged in a row."""
    edges = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes], np.int64)
    rectangles = np.zeros((most_rectangles(len(boxes)), 4), np.int64)
    num = cover_boxes(edges, gap, rectangles)
    needed, covered = np.zeros((20, 20), int), np.zeros((20, 20), int)
    for left, top, right, bottom in edges:
        needed[top:bottom, left:right] = 1
    for left, top, right, bottom in rectangles[:num]:
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1
    assert (covered >= needed).all()
    for row_needed, row_covered in zip(needed, covered, strict=True):
        extra = "".join(
            "x" if c and not n else " " for n, c in zip(row_needed, row_covered, strict=True)
        )
        assert all(len(run) <= gap for run in extra.split())


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 7), max_size=3), threads=st.integers(1, 3))
def test_views_do_not_depend_on_batching_or_threads(cuts: list[int], threads: int) -> None:
    """Any split of the samples, in any order, on any number of threads."""
    stage = DecodeMultiRandomResizedCrop(CROPS)
    whole = _views(stage)
    for rows in np.split(np.array(ALL[::-1]), sorted(set(cuts))):
        if rows.size:
            context = BatchContext(rows, seed=5, num_threads=threads)
            part = run_stages([stage], BATCH.take(rows), context)
            for name in CROPS:
                assert torch.equal(part[name], whole[name][torch.from_numpy(rows)])


def _drawn(stage: Stage, view: str, **changes: int) -> np.ndarray:
    crop = stage.crops[view]  # type: ignore[attr-defined]
    sides = np.full(2000, 300, np.int32)
    ids = list(range(2000))
    return crop.boxes(sides, sides, _context(ids, **changes).in_view(view)).window


def test_views_are_independent_whatever_their_seeds() -> None:
    """Places of equal crops of two views do not correlate, also with one explicit seed."""
    for seed in ({}, {"seed": 3}):
        crop = {"size": 8, "scale": (0.1, 0.1), "ratio": (1.0, 1.0), **seed}
        stage = DecodeMultiRandomResizedCrop({"a": crop, "b": crop})
        first, second = _drawn(stage, "a")[:, :2], _drawn(stage, "b")[:, :2]
        assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1
        assert abs(np.corrcoef(first[:-1, 0], second[1:, 0])[0, 1]) < 0.1


def test_yoked_views_get_equal_boxes_by_equal_laws() -> None:
    """... of two sizes; by another scale the smaller crop lies in the larger one."""
    stage = DecodeMultiRandomResizedCrop(
        {
            "large": {"size": 48, "scale": (0.4, 0.9), "ratio": (1.0, 1.0)},
            "same": {"size": 48, "scale": (0.4, 0.9), "ratio": (1.0, 1.0), "yoked_to": "large"},
            "part": {"size": 24, "scale": (0.1, 0.2), "ratio": (1.0, 1.0), "yoked_to": "large"},
            "free": {"size": 48, "scale": (0.4, 0.9), "ratio": (1.0, 1.0)},
        }
    )
    views = _views(stage)
    assert torch.equal(views["large"], views["same"])
    assert not torch.equal(views["large"], views["free"])
    heights, widths = BATCH.heights[[0, 2, 4]], BATCH.widths[[0, 2, 4]]
    context = _context([0, 2, 4]).in_view("large").in_stage(NAME)
    outer = stage.crops["large"].boxes(heights, widths, context).bounds
    inner = stage.crops["part"].boxes(heights, widths, context).bounds
    assert (outer[:, :2] <= inner[:, :2]).all()
    assert (outer[:, :2] + outer[:, 2:] >= inner[:, :2] + inner[:, 2:]).all()
    alone = stage.crops["part"].apply(BATCH, _context().in_view("large").in_stage(NAME))
    assert torch.equal(views["part"], alone)


def test_uniform_crops_are_a_list_of_independent_views() -> None:
    """One tensor a crop; seeds replace the loader's seed."""
    crops = _views(DecodeUniformMultiRandomResizedCrop(3, 24))
    assert [tuple(crop.shape) for crop in crops] == [(8, 3, 24, 24)] * 3
    assert not torch.equal(crops[0], crops[1])
    seeded = DecodeUniformMultiRandomResizedCrop(2, 24, seeds=[1, 2])
    one = run_stages([seeded], BATCH, _context(seed=1))
    two = run_stages([seeded], BATCH, _context(seed=2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_branches_that_begin_with_crops_share_one_decode() -> None:
    """MultiCropPipeline as the first stage, with or without NamedCopies: the crops of each view."""
    branches = {
        "a": [DecodeRandomResizedCrop(24)],
        "b": [DecodeResizeCrop(40, 32), ToTorchImage()],
        "c": [DecodeCenterCrop(16)],
    }
    for stages in (
        [MultiCropPipeline(branches)],
        [NamedCopies(["a", "b", "c"]), MultiCropPipeline(branches)],
    ):
        views = run_stages(stages, BATCH, _context())
        assert list(views) == ["a", "b", "c"]
        inside = _context().in_view("a").in_stage("DecodeRandomResizedCrop")
        assert torch.equal(views["a"], branches["a"][0].apply(BATCH, inside))
        assert torch.equal(views["c"], DecodeCenterCrop(16)(PAYLOADS))
        assert views["b"].dtype == torch.float32
        torch.testing.assert_close(
            views["b"], DecodeResizeCrop(40, 32)(PAYLOADS) / 255, rtol=0, atol=0.51 / 255
        )
    assert MultiCropPipeline(branches)(PAYLOADS)["c"].shape == (8, 3, 16, 16)
    mixed = MultiCropPipeline({"a": [DecodeCenterCrop(8)], "b": [ToTorchImage()]})
    with pytest.raises(TypeError, match="begin with a decoding crop"):
        run_stages([mixed], BATCH, _context())


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_short_crop_long_is_a_resize_and_a_crop(quality: str) -> None:
    """In the middle it is DecodeResizeCrop of one size; at 0 and 1 it touches the ends."""
    middle = DecodeRandomResizeShortCropLong(32, quality=quality)(PAYLOADS)  # type: ignore[arg-type]
    assert torch.equal(middle, DecodeResizeCrop(32, 32, quality=quality)(PAYLOADS))  # type: ignore[arg-type]
    for place in (0.0, 1.0):
        stage = DecodeRandomResizeShortCropLong(32, x_range=place, y_range=place)
        window = stage.boxes(BATCH.heights, BATCH.widths, _context()).window
        ends = window[:, :2] + window[:, 2:]
        sides = np.stack([BATCH.widths, BATCH.heights], 1)
        np.testing.assert_allclose(ends if place else window[:, :2], sides * place, atol=1e-6)


def test_sizes_are_drawn_for_a_batch_or_for_each_image() -> None:
    """Within their bounds; one size gives a tensor, several give a list of arrays."""
    by_image = DecodeRandomResizeShortCropLong((8, 24), "per_image", (0, 1), (0, 1))
    images = run_stages([by_image], BATCH, _context())
    sides = [image.shape[0] for image in images]
    assert all(image.shape == (side, side, 3) for image, side in zip(images, sides, strict=True))
    assert len(set(sides)) > 2
    assert min(sides) >= 8
    assert max(sides) <= 24
    one = run_stages([by_image], BATCH.take(np.array([2])), _context([2]))
    np.testing.assert_array_equal(one[0], images[2])
    by_batch = DecodeRandomResizeShortCropLong((8, 24), x_range=(0, 1))
    assert run_stages([by_batch], BATCH, _context()).shape[0] == 8
    drawn = {run_stages([by_batch], BATCH, _context(epoch=epoch)).shape[2] for epoch in range(6)}
    assert len(drawn) > 2
    tensors = run_stages([by_image, ToTorchImage()], BATCH, _context())
    assert [tuple(tensor.shape) for tensor in tensors] == [(3, side, side) for side in sides]


def test_multi_short_crop_long_gives_named_views() -> None:
    """Pixels of the single stage under the view's name; a yoked view has the same place."""
    crops = {
        "wide": {"size": 32, "x_range": (0, 1), "y_range": (0, 1)},
        "yoked": {"size": 32, "x_range": (0, 1), "y_range": (0, 1), "yoked_to": "wide"},
        "each": {"size": (4, 9), "size_mode": "per_image"},
    }
    views = _views(DecodeMultiRandomResizeShortCropLong(crops))
    assert torch.equal(views["wide"], views["yoked"])
    context = _context().in_view("wide").in_stage("DecodeMultiRandomResizeShortCropLong")
    alone = DecodeRandomResizeShortCropLong(**crops["wide"]).apply(BATCH, context)
    assert torch.equal(views["wide"], alone)
    assert len(views["each"]) == 8


def test_embedded_crops_lie_opaque_on_a_transparent_canvas() -> None:
    """The crop's pixels are at its place, alpha is 255 there, and all else is 0."""
    crops = {
        "drawn": {"size": (8, 20), "embed_x_range": (0, 1), "embed_y_range": (0, 1)},
        "corner": {"size": 12, "coords": (0, 0)},
        "middle": {"size": 12},
        "few": {"size": 4, "coords": [(8, 8), (24, 16)], "size_mode": "per_batch"},
    }
    views = _views(DecodeMultiResizeCropEmbed(crops, canvas_size=32))
    context = _context().in_stage("DecodeMultiResizeCropEmbed")
    corners = {}
    for name, arguments in crops.items():
        assert views[name].shape == (8, 4, 32, 32)
        assert views[name].is_contiguous(memory_format=torch.channels_last)
        single = DecodeRandomResizeShortCropLong(arguments["size"], "per_image")  # type: ignore[arg-type]
        pixels = single.apply(BATCH, context.in_view(name))
        corners[name] = []
        for row, crop in enumerate(pixels):
            rows, columns = np.nonzero(views[name][row, 3].numpy() == 255)
            x, y = int(columns.min()), int(rows.min())
            corners[name].append((x, y))
            expected = np.zeros((32, 32, 4), np.uint8)
            expected[y : y + len(crop), x : x + len(crop)] = np.dstack(
                [crop, np.full(crop.shape[:2], 255, np.uint8)]
            )
            np.testing.assert_array_equal(views[name][row].permute(1, 2, 0).numpy(), expected)
    assert set(corners["corner"]) == {(0, 0)}
    assert set(corners["middle"]) == {(10, 10)}
    assert set(corners["few"]) == {(6, 6), (22, 14)}
    assert len(set(corners["drawn"])) > 4


@pytest.mark.parametrize("engine", ENGINES)
def test_odd_images_give_all_views(engine: str) -> None:
    """Gray, one pixel, and turned by EXIF: the pixels of the single stages."""
    payloads = [_payload(60, 80, mode="L"), _payload(1, 1), _payload(60, 90, orientation=6)]
    batch = EncodedBatch.from_payloads(payloads)
    options = {"engine": engine, "exif": "apply"}
    multi = DecodeMultiRandomResizedCrop(CROPS, **options)  # type: ignore[arg-type]
    context = _context([0, 1, 2]).in_stage(NAME)
    views = multi.apply(batch, context)
    for name, arguments in CROPS.items():
        single = DecodeRandomResizedCrop(**arguments, **options)  # type: ignore[arg-type]
        assert torch.equal(views[name], single.apply(batch, context.in_view(name)))


def test_a_damaged_image_fails_once_in_all_views() -> None:
    """By name in an error, or black in every view if failures are noted; others are untouched."""
    damaged = bytearray(PAYLOADS[2])
    damaged[len(damaged) // 4 :] = bytes(len(damaged) - len(damaged) // 4)
    payloads = [PAYLOADS[0], bytes(damaged), PAYLOADS[4]]
    batch = EncodedBatch.from_payloads(payloads)
    stage = DecodeMultiRandomResizedCrop(CROPS)
    with pytest.raises(CorruptImageError, match="sample 1") as error:
        run_stages([stage], batch, _context([0, 1, 2]))
    assert error.value.sample_ids == [1]
    failures: dict[int, str] = {}
    context = BatchContext(np.arange(3), seed=5, failures=failures)
    views = run_stages([stage], batch, context)
    assert list(failures) == [1]
    whole = run_stages([stage], batch.take(np.array([0, 2])), _context([0, 2]))
    for name in CROPS:
        assert not views[name][1].any()
        assert torch.equal(views[name][[0, 2]], whole[name])


def test_wrong_arguments_are_refused_at_once() -> None:
    """Unknown arguments by name, yokes to nobody, crops that do not fit their canvas."""
    with pytest.raises(TypeError, match=r"\['sizes'\]"):
        DecodeMultiRandomResizedCrop({"a": {"sizes": 3}})
    with pytest.raises(TypeError, match="'a' has a device"):
        DecodeMultiResizeCropEmbed({"a": {"size": (16, 24), "device": "cpu"}}, 32)
    for wrong in (
        lambda: DecodeMultiRandomResizedCrop({}),
        lambda: DecodeMultiRandomResizedCrop({"a": {"size": 8, "yoked_to": "b"}}),
        lambda: DecodeMultiRandomResizedCrop({"a": {}, "b": {"yoked_to": "a", "seed": 1}}),
        lambda: DecodeMultiRandomResizedCrop({"a": {}}, crop_mode="clever"),  # type: ignore[arg-type]
        lambda: DecodeMultiRandomResizedCrop({"a": {}, "b": {"quality": "exact"}}),
        lambda: DecodeUniformMultiRandomResizedCrop(0),
        lambda: DecodeUniformMultiRandomResizedCrop(2, seeds=[1]),
        lambda: DecodeRandomResizeShortCropLong((9, 8)),
        lambda: DecodeRandomResizeShortCropLong(8, "sometimes"),  # type: ignore[arg-type]
        lambda: DecodeRandomResizeShortCropLong(8, x_range=(0.5, 1.5)),
        lambda: DecodeMultiResizeCropEmbed({"a": {"size": 40}}, canvas_size=32),
        lambda: DecodeMultiResizeCropEmbed({"a": {"coords": []}}),
        lambda: DecodeMultiResizeCropEmbed({"a": {}}, engine="nvimgcodec"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"."):
            wrong()

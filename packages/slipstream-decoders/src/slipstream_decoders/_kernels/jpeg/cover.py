"""Which MCUs the crops of one image need, as rectangles that do not overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel


@kernel
def most_rectangles(num_boxes: int) -> int:
    """How many rectangles ``cover_boxes`` makes of so many boxes, at most."""
    return 2 * num_boxes * num_boxes


@kernel
def cover_boxes(boxes: NDArray[np.int64], gap: int, rectangles: NDArray[np.int64]) -> int:
    """Cover boxes by rectangles, from top to bottom.

    The plane is cut at the upper and lower ends of all boxes. In each strip, boxes that overlap, or
    lie at most ``gap`` apart, share a rectangle; equal strips are joined again.

    Parameters
    ----------
    boxes : ndarray of int64, shape (N, 4)
        x_begin, y_begin, x_end, y_end of each; none is empty.
    gap : int
    rectangles : ndarray of int64, shape (most_rectangles(N), 4)
        Filled.

    Returns
    -------
    int
        The number of rectangles.
    """
    num: int = np.int64(0)
    begin = num  # the first rectangle of the strip above
    y = boxes[:, 1].min()
    while True:
        below = _next_end(boxes, y)
        if below == y:
            return num
        after = _add_strip(boxes, y, below, gap, rectangles, num)
        if _is_continued(rectangles, begin, num, after):
            for index in range(begin, num):
                rectangles[index, 3] = below
        else:
            begin, num = num, after
        y = below


@kernel
def _next_end(boxes: NDArray[np.int64], y: int) -> int:
    """The first upper or lower end of a box below ``y``; ``y`` if there is none."""
    nearest = y
    for index in range(boxes.shape[0]):
        for end in (boxes[index, 1], boxes[index, 3]):
            if end > y and (nearest == y or end < nearest):
                nearest = end
    return nearest


@kernel
def _add_strip(
    boxes: NDArray[np.int64],
    y: int,
    below: int,
    gap: int,
    rectangles: NDArray[np.int64],
    num: int,
) -> int:
    """Add the rectangles of one strip, from left to right; how many there are then."""
    x = np.int64(-1) << 40  # everything left of it is covered
    while True:
        begin, end = np.int64(0), np.int64(0)
        for index in range(boxes.shape[0]):
            is_here = boxes[index, 1] <= y and boxes[index, 3] >= below and boxes[index, 2] > x
            if is_here and (end == begin or boxes[index, 0] < begin):
                begin, end = boxes[index, 0], boxes[index, 2]
        if end == begin:
            return num
        is_growing = True
        while is_growing:
            is_growing = False
            for index in range(boxes.shape[0]):
                is_here = boxes[index, 1] <= y and boxes[index, 3] >= below
                if is_here and boxes[index, 0] <= end + gap and boxes[index, 2] > end:
                    end = boxes[index, 2]
                    is_growing = True
        rectangles[num, 0], rectangles[num, 1] = begin, y
        rectangles[num, 2], rectangles[num, 3] = end, below
        num += 1
        x = end


@kernel
def _is_continued(rectangles: NDArray[np.int64], begin: int, num: int, after: int) -> bool:
    """Whether the strip ``num`` .. ``after`` goes on where the strip ``begin`` .. ``num`` ends."""
    if num - begin != after - num:
        return False
    for index in range(num - begin):
        above, here = rectangles[begin + index], rectangles[num + index]
        if above[0] != here[0] or above[2] != here[2] or above[3] != here[1]:
            return False
    return True

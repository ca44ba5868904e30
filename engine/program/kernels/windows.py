"""Compiled loops over sliding windows of channels-last activations: patches for a matrix product, depthwise sums.

``geometry`` is int64 [12]: input height, width; kernel height, width; strides; padding above, left; dilations; output
height, width. Offsets are counted from slices, whose indices the compiler knows to be positive: it then uses vectors.
"""

from __future__ import annotations

import numpy as np

from engine.program.kernels.compiled import Array, Integer, compiled, prange
from engine.program.kernels.scalar import limit, rescale


@compiled
def gather_patches(
    pixels: Array, channels: Integer, geometry: Array, first_row: Integer, channel: Integer, width: Integer,
    fill: Integer, patches: Array,
) -> None:  # fmt: skip
    """Copy windows into rows: pixels [N * H * W * C] -> patches [rows, KH * KW * width], from window ``first_row`` on.

    ``channel`` and ``width`` select channels (those of one group); ``fill`` is what lies outside the picture.
    """
    height, across, kh, kw, sh, sw, top, left, dh, dw, oh, ow = geometry
    whole = dw == 1 and width == channels
    for row in prange(patches.shape[0]):
        window = np.int64(first_row + row)
        n = window // (oh * ow)
        y0 = window // ow % oh * sh - top
        x0 = window % ow * sw - left
        target = patches[row]
        at = 0
        for ky in range(kh):
            y = y0 + ky * dh
            start = ((n * height + y) * across + x0) * channels + channel
            if y >= 0 and y < height and whole and x0 >= 0 and x0 + kw <= across:
                piece, source = target[at : at + kw * width], pixels[start : start + kw * width]
                for i in range(piece.size):
                    piece[i] = source[i]
                at += kw * width
            else:
                for kx in range(kw):
                    column = x0 + kx * dw
                    piece = target[at : at + width]
                    if y < 0 or y >= height or column < 0 or column >= across:
                        for i in range(width):
                            piece[i] = fill
                    else:
                        source = pixels[start + kx * dw * channels :]
                        for i in range(width):
                            piece[i] = source[i]
                    at += width


@compiled
def depthwise(
    pixels: Array, channels: Integer, taps: Array, geometry: Array, bias: Array, multiplier: Array, shift: Array,
    low: Integer, high: Integer, out: Array,
) -> None:  # fmt: skip
    """Depthwise convolution and requantisation: pixels [N * H * W * C], taps [KH * KW, T * C] -> out [N * OH, OW * C].

    The weights of a place stand T times in a row, as the arrays of the tail do, so that (with a stride of 1) one loop
    runs over T pixels: few channels alone would make short loops. Sums are kept in 32 bits: the caller has proved that
    they suffice.
    """
    height, across, kh, kw, sh, sw, top, left, dh, dw, oh, ow = geometry
    stride = taps.shape[1] // channels if sw == 1 else 1
    for line in prange(out.shape[0]):
        n, oy = line // oh, line % oh
        sums = np.zeros(ow * channels, np.int32)
        for ky in range(kh):
            y = np.int64(oy * sh - top + ky * dh)
            if y >= 0 and y < height:
                for kx in range(kw):
                    weights = taps[ky * kw + kx]
                    offset = kx * dw - left
                    first = max(0, (sw - 1 - offset) // sw)
                    last = min(ow, (across - 1 - offset) // sw + 1)
                    for ox in range(first, last, stride):
                        count = min(stride, last - ox) * channels
                        start = ((n * height + y) * across + ox * sw + offset) * channels
                        source, acc = pixels[start : start + count], sums[ox * channels : ox * channels + count]
                        for i in range(acc.size):
                            acc[i] += np.int32(source[i]) * np.int32(weights[i])
        run, line_out = bias.size, out[line]
        for start in range(0, ow * channels, run):
            acc, target = sums[start : start + run], line_out[start : start + run]
            for i in range(acc.size):
                target[i] = limit(rescale(acc[i] + bias[i], multiplier[i], shift[i]), low, high)

"""Compiled loops over sliding windows of channels-last activations: patches for a matrix product, depthwise sums."""

from __future__ import annotations

import numpy as np

from engine.program.kernels.compiled import compiled, prange
from engine.program.kernels.scalar import limit, rescale


@compiled
def gather_patches(x, geometry, first_row, channel, width, fill, patches):
    """Copy windows into rows: x [N, H, W, C] -> patches [rows, KH * KW * width], starting at window ``first_row``.

    ``geometry`` int64 [10]: kernel h, w, stride h, w, pad top, left, dilation h, w, output height, width.
    ``channel`` and ``width`` select channels (one group); ``fill`` is what lies outside the picture.
    """
    height, across = x.shape[1], x.shape[2]
    kh, kw, sh, sw, top, left, dh, dw, oh, ow = geometry
    whole = dw == 1 and width == x.shape[3]
    for row in prange(patches.shape[0]):
        window = first_row + row
        n = window // (oh * ow)
        y0 = window // ow % oh * sh - top
        x0 = window % ow * sw - left
        at = 0
        for ky in range(kh):
            y = y0 + ky * dh
            if y < 0 or y >= height:
                for i in range(kw * width):
                    patches[row, at + i] = fill
                at += kw * width
            elif whole and x0 >= 0 and x0 + kw <= across:
                line = x[n, y].reshape(-1)
                for i in range(kw * width):
                    patches[row, at + i] = line[x0 * width + i]
                at += kw * width
            else:
                for kx in range(kw):
                    column = x0 + kx * dw
                    if column < 0 or column >= across:
                        for i in range(width):
                            patches[row, at + i] = fill
                    else:
                        for i in range(width):
                            patches[row, at + i] = x[n, y, column, channel + i]
                    at += width


@compiled
def depthwise(x, weight, geometry, bias, multiplier, shift, low, high, out):
    """Depthwise convolution and requantisation: x [N, H, W, C], weight [KH * KW, C] -> out [N, OH, OW, C].

    Sums are kept in 32 bits: the caller has proved that they suffice. ``geometry`` as in :func:`gather_patches`.
    """
    height, across, channels = x.shape[1], x.shape[2], x.shape[3]
    kh, kw, sh, sw, top, left, dh, dw, oh, ow = geometry
    for line in prange(x.shape[0] * oh):
        n, oy = line // oh, line % oh
        acc = np.zeros((ow, channels), np.int32)
        for ky in range(kh):
            y = oy * sh - top + ky * dh
            if y >= 0 and y < height:
                for kx in range(kw):
                    shift_x = kx * dw - left
                    first = max(0, (-shift_x + sw - 1) // sw)
                    last = min(ow, (across - 1 - shift_x) // sw + 1)
                    for ox in range(first, last):
                        for c in range(channels):
                            acc[ox, c] += np.int32(x[n, y, ox * sw + shift_x, c]) * np.int32(weight[ky * kw + kx, c])
        for ox in range(ow):
            for c in range(channels):
                value = rescale(acc[ox, c] + bias[c], multiplier[c], shift[c])
                out[n, oy, ox, c] = limit(value, low, high)

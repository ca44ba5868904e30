"""Rendered pages of text lines with the boxes of their lines, and what a detector's probability map finds of them.

Finding is the post-processing of DB (M. Liao et al., "Real-time Scene Text Detection with Differentiable Binarization",
AAAI 2020): probabilities above 0.3 are connected to regions; a region whose mean probability is at least 0.6 is a line,
and its box is grown by area * 1.5 / perimeter on every side. Boxes are upright, as the lines are.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; right and bottom excluded."""

PROBABILITY = 0.3
SCORE = 0.6
GROWTH = 1.5
SMALLEST_SIDE = 3
MATCH = 0.5
"""Intersection over union from which a box found is a line."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def page(
    size: int, words: tuple[str, ...], fonts: tuple[str, ...], seed: int
) -> tuple[Image.Image, list[Box]]:
    """A square page of ``size`` pixels: upright lines in rows of one or two, on noisy paper; ink and paper differ by 60
    of 255 levels or more."""
    choose, noise = random.Random(seed), np.random.default_rng(seed)
    paper = tuple(choose.randint(150, 255) for _ in range(3))
    picture = Image.new("RGB", (size, size), paper)
    pen, boxes, top = ImageDraw.Draw(picture), list[Box](), float(choose.randint(6, 30))
    while True:
        font = ImageFont.truetype(choose.choice(fonts), choose.randint(14, 36))
        left, height = float(choose.randint(6, size // 4)), 0.0
        for _ in range(choose.randint(1, 2)):
            text = " ".join(choose.choice(words) for _ in range(choose.randint(1, 3)))
            box = pen.textbbox((left, top), text, font=font)
            if box[2] > size - 6 or box[3] > size - 6:
                break
            pen.text((left, top), text, font=font, fill=tuple(choose.randint(0, 90) for _ in range(3)))
            boxes.append((box[0], box[1], box[2], box[3]))
            left, height = box[2] + choose.randint(30, 80), max(height, box[3] - top)
        top += max(height, float(font.size)) + choose.randint(8, 24)
        if top > size - 20:
            break
    picture = picture.filter(ImageFilter.GaussianBlur(choose.uniform(0, 1)))
    grainy = np.asarray(picture, np.float32) + noise.normal(0, choose.uniform(0, 20), (size, size, 3))
    return Image.fromarray(grainy.clip(0, 255).astype(np.uint8)), boxes


def tensor(pictures: list[Image.Image]) -> NDArray[np.float32]:
    """[N, 3, H, W]: BGR by ImageNet's mean and deviation of RGB, as PP-OCR reads pictures."""
    rows = [np.asarray(picture, np.float32)[..., ::-1] / 255 for picture in pictures]
    scaled = [(row - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32) for row in rows]
    return np.ascontiguousarray(np.stack(scaled).transpose(0, 3, 1, 2), np.float32)


def boxes_of(probability: NDArray[np.floating]) -> list[Box]:
    """The lines in a probability map [H, W]."""
    regions, _ = ndimage.label(probability > PROBABILITY)  # pyright: ignore[reportGeneralTypeIssues]
    found: list[Box] = []
    for rows, columns in ndimage.find_objects(regions):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < SMALLEST_SIDE or probability[rows, columns].mean() < SCORE:
            continue
        grown = height * width * GROWTH / (2 * (height + width))
        box = (columns.start - grown, rows.start - grown, columns.stop + grown, rows.stop + grown)
        bottom, right = map(float, probability.shape)
        found.append((max(box[0], 0.0), max(box[1], 0.0), min(box[2], right), min(box[3], bottom)))
    return found


def matches(found: list[Box], wanted: list[Box]) -> int:
    """How many boxes found are lines, each line counted once, best overlaps first."""
    pairs = sorted(((overlap(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(wanted)), reverse=True)
    used_found: set[int] = set()
    used_wanted: set[int] = set()
    for value, i, j in pairs:
        if value >= MATCH and i not in used_found and j not in used_wanted:
            used_found.add(i)
            used_wanted.add(j)
    return len(used_found)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def hmean(matched: float, found: float, wanted: float) -> float:
    """Harmonic mean of precision and recall."""
    return 2.0 * matched / (found + wanted) if found + wanted else 0.0

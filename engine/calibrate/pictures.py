"""Reading pictures and turning them into model inputs as a recipe says."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.calibrate.recipe import Crop, Recipe, Resample
from engine.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Of the files that a folder's pictures are, in lower case."""

_FILTERS: Mapping[Resample, Image.Resampling] = MappingProxyType(
    {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
)


def read_picture(path: Path) -> Image.Image:
    """The decoded picture, turned upright as its EXIF orientation says.

    Raises:
        DataError: The file is missing, no picture, damaged, or of more pixels than Pillow takes for safe.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; the pixels are fine
            with Image.open(path) as image:
                return ImageOps.exif_transpose(image)
    except Exception as failure:  # Pillow's plugins raise nearly anything on damaged files
        detail = failure.strerror if isinstance(failure, OSError) and failure.strerror else ""
        reason = f" ({detail})" if detail else ""
        hint = "replace the file or remove it from the folder"
        raise DataError(f"is not a readable picture{reason}", path=path, hint=hint) from failure


def prepare(image: Image.Image, recipe: Recipe) -> NDArray[np.float32]:
    """The model input for one picture: float32 [C, H, W], or [H, W, C] for layout NHWC."""
    mode = "L" if recipe.channels == "L" else "RGB"
    fitted = _CROPS[recipe.crop](_to_mode(image, mode), recipe)
    if recipe.layout == "NCHW":
        fitted = np.moveaxis(fitted, -1, 0)
    return np.ascontiguousarray(fitted)


def normalise(pixels: NDArray[np.generic], recipe: Recipe) -> NDArray[np.float32]:
    """``(pixels - mean) / scale`` for pixels that already have the recipe's layout and channel order, [...,
    C, H, W] or [..., H, W, C]."""
    return _scaled(pixels, recipe, trailing_axes=0 if recipe.layout == "NHWC" else 2)


def _scaled(pixels: NDArray[np.generic], recipe: Recipe, trailing_axes: int = 0) -> NDArray[np.float32]:
    """``(pixels - mean) / scale`` where ``trailing_axes`` axes follow the channels."""
    shape = (recipe.channel_count, *(1,) * trailing_axes)
    means = np.array(recipe.channel_means, np.float32).reshape(shape)
    scales = np.array(recipe.channel_scales, np.float32).reshape(shape)
    found = pixels.astype(np.float32, order="C")
    found -= means
    found /= scales
    return found


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture as 8 bits a channel; 16-bit greys are scaled (Pillow would cut them off at 255)."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8))
    elif image.mode in ("P", "PA", "LA", "La", "RGBa"):
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def _centre(image: Image.Image, recipe: Recipe) -> NDArray[np.float32]:
    """The largest centred window of the input's aspect ratio times ``crop_fraction``, in whole pixels,
    resized.

    An odd rest goes to the top and left, as TensorFlow's reference preprocessing of EfficientNet does.
    """
    step = min(image.width / recipe.width, image.height / recipe.height) * recipe.crop_fraction
    # The small term keeps 0.875 * 288 from becoming 251 by the rounding of the product.
    width, height = (max(1, int(step * side + 1e-6)) for side in (recipe.width, recipe.height))
    left, top = (image.width - width + 1) // 2, (image.height - height + 1) // 2
    return _whole(image.crop((left, top, left + width, top + height)), recipe)


def _whole(image: Image.Image, recipe: Recipe) -> NDArray[np.float32]:
    """All of the picture, resized without regard to its aspect ratio."""
    resized = image.resize((recipe.width, recipe.height), _FILTERS[recipe.resample])
    return _normalised_last(resized, recipe)


def _letterbox(image: Image.Image, recipe: Recipe) -> NDArray[np.float32]:
    """All of the picture in its own aspect ratio, centred; the border is 0 after normalisation."""
    step = min(recipe.width / image.width, recipe.height / image.height)
    width = min(recipe.width, max(1, math.floor(image.width * step + 0.5)))
    height = min(recipe.height, max(1, math.floor(image.height * step + 0.5)))
    inner = _normalised_last(image.resize((width, height), _FILTERS[recipe.resample]), recipe)
    framed = np.zeros((recipe.height, recipe.width, recipe.channel_count), np.float32)
    top, left = (recipe.height - height) // 2, (recipe.width - width) // 2
    framed[top : top + height, left : left + width] = inner
    return framed


def _normalised_last(image: Image.Image, recipe: Recipe) -> NDArray[np.float32]:
    """float32 [H, W, C] in the recipe's channel order, in memory plane by plane: rows of a plane have one mean."""
    pixels = np.asarray(image).reshape(image.height, image.width, recipe.channel_count)
    if recipe.channels == "BGR":
        pixels = pixels[..., ::-1]
    return np.moveaxis(_scaled(np.moveaxis(pixels, -1, 0), recipe, trailing_axes=2), 0, -1)


_CROPS: Mapping[Crop, Callable[[Image.Image, Recipe], NDArray[np.float32]]] = MappingProxyType(
    {"center": _centre, "none": _whole, "letterbox": _letterbox}
)

"""How a picture becomes a model's input: the ``[input]`` table of a recipe file."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine import toml_io
from engine.errors import DataError

Crop = Literal["center", "none", "letterbox"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Channels = Literal["RGB", "BGR", "L"]
Layout = Literal["NCHW", "NHWC"]
MAX_SIDE = 65_535
"""Of an input, in pixels: more is a slip of the pen and would take gigabytes a sample."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From a picture to ``(x - mean) / scale`` with x in 0..255, as float32.

    ``size`` is a side in pixels or (height, width). ``crop``: ``center`` cuts the largest centred window of
    the input's aspect ratio, shrunk by ``crop_fraction`` (of the shorter side for square inputs), before
    resizing; ``none`` resizes the whole picture, whatever its aspect ratio; ``letterbox`` keeps the aspect
    ratio and fills the rest with ``mean``. ``crop_fraction`` concerns ``center`` only. ``mean`` and ``scale``
    are one number or one per channel, in the order of ``channels``.
    """

    # The sides are checked below: msgspec 0.22 reads stray memory for a union of a constrained int and a
    # fixed tuple.
    size: int | tuple[int, ...]
    crop: Crop = "center"
    crop_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    resample: Resample = "bilinear"
    channels: Channels = "RGB"
    layout: Layout = "NCHW"
    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        sides = (self.size,) * 2 if isinstance(self.size, int) else self.size
        if len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
            shown = self.size if isinstance(self.size, int) else list(self.size)
            expected = f"a side in pixels or [height, width], each 1..{MAX_SIDE}"
            raise ValueError(f"size is {shown}, expected {expected}")
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            self._check_per_channel(name, values)
        if 0.0 in self.channel_scales:
            raise ValueError(f"scale divides and must not be 0: {self.scale}")

    def _check_per_channel(self, name: str, values: float | tuple[float, ...]) -> None:
        if isinstance(values, tuple) and len(values) not in (1, self.channel_count):
            expected = f"1 or {self.channel_count} numbers for channels = {self.channels!r}"
            raise ValueError(f"{name} has {len(values)} numbers, expected {expected}")
        if not all(math.isfinite(value) for value in self._per_channel(values)):
            raise ValueError(f"{name} must be finite: {values}")

    @property
    def height(self) -> int:
        """Of the model's input, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Of the model's input, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def channel_count(self) -> int:
        return 1 if self.channels == "L" else 3

    @property
    def channel_means(self) -> tuple[float, ...]:
        """One number per channel, in the order of ``channels``."""
        return self._per_channel(self.mean)

    @property
    def channel_scales(self) -> tuple[float, ...]:
        """One number per channel, in the order of ``channels``."""
        return self._per_channel(self.scale)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one prepared picture, without the batch dimension."""
        if self.layout == "NHWC":
            return (self.height, self.width, self.channel_count)
        return (self.channel_count, self.height, self.width)

    @property
    def fingerprint(self) -> str:
        """Content hash: equal for recipes that prepare every picture in the same way."""
        normal = msgspec.structs.replace(
            self,
            size=(self.height, self.width),
            crop_fraction=self.crop_fraction if self.crop == "center" else 1.0,
            mean=self.channel_means,
            scale=self.channel_scales,
        )
        return hashlib.blake2b(msgspec.json.encode(normal), digest_size=16).hexdigest()

    def _per_channel(self, values: float | tuple[float, ...]) -> tuple[float, ...]:
        numbers = values if isinstance(values, tuple) else (values,)
        return numbers * self.channel_count if len(numbers) == 1 else numbers


class _RecipeFile(msgspec.Struct, forbid_unknown_fields=True):
    input: Recipe


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        DataError: The file is missing, not TOML, or a key is missing, unknown or has another value than
        expected.
    """
    tables = toml_io.parse(toml_io.read_text(path, DataError), path, DataError)
    return toml_io.convert(tables, _RecipeFile, path, DataError).input


def dump_recipe(recipe: Recipe, table: str = "input") -> str:
    """The recipe as the lines of a TOML table; keys that have their default value are written too."""
    return "\n".join([f"[{table}]", *toml_io.entries(msgspec.to_builtins(recipe)), ""])

"""Fashion-MNIST: reading the published files, choosing balanced subsets, normalising and augmenting."""

import gzip
import struct
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Split = Literal["train", "t10k"]

MODELS_DIRECTORY = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` installs the four idx files."""

CLASS_COUNT = 10
SIZE = 28
_IDX_UINT8 = 0x08


@dataclass(frozen=True)
class Pictures:
    """Raw pictures and what they show: ``images`` uint8 [N, 1, 28, 28], ``labels`` int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Pictures":
        """The pictures at ``indices`` [K], in that order."""
        return Pictures(self.images[indices], self.labels[indices])


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped idx file of bytes: zero, type and rank bytes, big-endian dimensions, then the data.

    Raises:
        ValueError: the file is not an idx file of unsigned bytes.
    """
    content = gzip.decompress(path.read_bytes())
    zero, element_type, rank = struct.unpack_from(">HBB", content)
    if zero != 0 or element_type != _IDX_UINT8:
        raise ValueError(f"{path}: not an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{rank}I", content, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def load(directory: Path, split: Split) -> Pictures:
    """Read the 60,000 training (``train``) or 10,000 test (``t10k``) pictures.

    Raises:
        FileNotFoundError: ``directory`` does not hold the published files.
        ValueError: a file is damaged.
    """
    images = _read_idx(directory / f"{split}-images-idx3-ubyte.gz")
    labels = _read_idx(directory / f"{split}-labels-idx1-ubyte.gz")
    return Pictures(images[:, None], labels.astype(np.int64))


def balanced_subset(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Indices [count] of a shuffled subset whose class counts differ by at most one.

    Raises:
        ValueError: a class has too few members.
    """
    generator = np.random.default_rng(seed)
    quotas = np.full(CLASS_COUNT, count // CLASS_COUNT)
    quotas[: count % CLASS_COUNT] += 1
    chosen: list[NDArray[np.int64]] = []
    for class_index, quota in enumerate(quotas):
        members = np.flatnonzero(labels == class_index)
        if len(members) < quota:
            raise ValueError(f"class {class_index} has {len(members)} pictures, {quota} are needed")
        chosen.append(generator.choice(members, size=quota, replace=False))
    return generator.permutation(np.concatenate(chosen))


@dataclass(frozen=True)
class Normalisation:
    """``(pixel - mean) / scale`` on pixels in 0..255, as the shipped recipe states it."""

    mean: float
    scale: float

    @classmethod
    def from_recipe(cls, path: Path = MODELS_DIRECTORY / "fmnist.toml") -> "Normalisation":
        """Read the one channel's mean and scale from a recipe."""
        with path.open("rb") as file:
            recipe = tomllib.load(file)["input"]
        return cls(mean=recipe["mean"][0], scale=recipe["scale"][0])

    def __call__(self, images: Tensor) -> Tensor:
        """Raw pixels [N, 1, 28, 28] of any type to the model's float32 input of the same shape."""
        return (images.to(torch.float32) - self.mean) / self.scale


def augment(images: Tensor, generator: torch.Generator, padding: int = 1) -> Tensor:
    """Shift each raw picture by up to ``padding`` pixels (black enters) and mirror half of them.

    ``images`` uint8 [N, 1, 28, 28]; the result has the same type and shape.
    """
    count = len(images)
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    steps = torch.arange(SIZE)
    columns = torch.where(mirrored, steps.flip(0), steps) + offsets[0]
    rows = steps + offsets[1]
    padded = functional.pad(images, (padding, padding, padding, padding))[:, 0]
    batch = torch.arange(count)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]][:, None]

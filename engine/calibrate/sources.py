"""Where samples come from: a folder of pictures, or the arrays of an ``.npz`` file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.calibrate import labels as labels_csv
from engine.calibrate import pictures
from engine.calibrate.npz import NpzArray, open_npz
from engine.calibrate.recipe import Recipe
from engine.errors import DataError
from engine.graph.graph import TensorType

Batch = dict[str, NDArray[np.generic]]
"""Model input name -> samples [n, *sample shape], float32 for float inputs and the input's own dtype
otherwise.
"""


class Hasher(Protocol):
    """What a source needs of a ``hashlib`` object."""

    def update(self, data: bytes, /) -> None: ...


class SampleSource(Protocol):
    """All samples of a data set, before a part of them is chosen.

    ``labels`` is the class of each sample or None; ``splits`` the split that each belongs to, or None if
    there are none.
    """

    path: Path
    labels: NDArray[np.int64] | None
    splits: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Batch:
        """The samples at ``indices`` as one batch."""
        ...

    def digest(self, index: int, hasher: Hasher) -> None:
        """Add everything that decides the content of one sample."""
        ...

    def place(self, index: int) -> str:
        """What to call one sample in a message."""
        ...


def open_source(path: Path, graph_inputs: Mapping[str, TensorType], recipe: Recipe | None) -> SampleSource:
    """The samples in a folder of pictures or an ``.npz`` file; little more than names is read.

    Raises:
        DataError: There is nothing to read, or it does not fit the model's inputs.
    """
    for name, kind in graph_inputs.items():
        if not kind.shape:
            raise DataError(f"model input '{name}' is a single number and has no batch dimension", path=path)
    if path.is_dir():
        return PictureFolder(path, graph_inputs, recipe)
    if not path.exists():
        raise DataError("does not exist", path=path, hint="name a folder of pictures or an .npz file")
    if path.suffix.lower() == ".npz":
        return NpzSamples(path, graph_inputs, recipe)
    hint = "name the folder that holds the pictures, or save arrays with numpy.savez(file, name=array)"
    raise DataError("is neither a folder of pictures nor an .npz file", path=path, hint=hint)


class PictureFolder:
    """The pictures of one folder, sorted by name, for a model with one input; ``labels.csv`` is read if it is
    there.
    """

    def __init__(self, path: Path, graph_inputs: Mapping[str, TensorType], recipe: Recipe | None) -> None:
        self.path = path
        files = _picture_names(path)
        self._recipe = _required(recipe, path)
        self._input = _only_input(graph_inputs, path)
        _check_recipe(self._recipe, self._input, graph_inputs[self._input], path)
        self._files = files
        table = path / labels_csv.FILE_NAME
        self.labels: NDArray[np.int64] | None = None
        self.splits: tuple[str, ...] | None = None
        if table.exists():
            self._read_labels(table)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Sequence[int]) -> Batch:
        out = np.empty((len(indices), *self._recipe.sample_shape), np.float32)
        for place, index in enumerate(indices):
            image = pictures.read_picture(self.path / self._files[index])
            out[place] = pictures.prepare(image, self._recipe)
        return {self._input: out}

    def digest(self, index: int, hasher: Hasher) -> None:
        file = self.path / self._files[index]
        try:
            hasher.update(file.read_bytes())
        except OSError as failure:
            raise DataError(f"cannot be read: {failure.strerror or failure}", path=file) from failure
        hasher.update(self._recipe.fingerprint.encode())

    def place(self, index: int) -> str:
        return f"picture '{self._files[index]}'"

    def _read_labels(self, table: Path) -> None:
        rows = labels_csv.read_labels(table)
        present = set(self._files)
        for file in rows:
            if file not in present:
                raise DataError(f"names '{file}', which is not a picture in the folder", path=table)
        missing = [file for file in self._files if file not in rows]
        if missing:
            counts = f"{len(missing)} of the folder's {len(self._files)} pictures"
            message = f"has no row for {counts}, such as '{missing[0]}'"
            raise DataError(message, path=table, hint="add the rows or move those pictures elsewhere")
        chosen = [rows[file] for file in self._files]
        self.labels = np.array([row.class_index for row in chosen], np.int64)
        if any(row.split for row in chosen):
            self.splits = tuple(row.split for row in chosen)


class NpzSamples:
    """Arrays named like the model's inputs, one row a sample; or ``images`` for a model with one input.

    Float arrays are taken as they are; uint8 arrays for a float input are pixels, [N, C, H, W] or as the
    recipe's layout says, in the recipe's channel order, and get its mean and scale. Optional arrays:
    ``labels`` (integers [N]) and ``split`` (texts [N]).
    """

    def __init__(self, path: Path, graph_inputs: Mapping[str, TensorType], recipe: Recipe | None) -> None:
        self.path = path
        self._types = graph_inputs
        arrays = open_npz(path)
        self._arrays = _input_arrays(arrays, graph_inputs, path)
        self._recipe = recipe
        self._count = self._common_length()
        for name, array in self._arrays.items():
            self._check(name, array)
        self.labels = self._labels(arrays.get("labels"))
        self.splits = self._splits(arrays.get("split"))

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int]) -> Batch:
        return {name: self._prepared(name, array.rows(indices)) for name, array in self._arrays.items()}

    def digest(self, index: int, hasher: Hasher) -> None:
        for name, array in self._arrays.items():
            hasher.update(f"{name} {array.dtype.str} {array.shape[1:]}".encode())
            hasher.update(array.rows([index]).tobytes())
            if self._are_pixels(name, array) and self._recipe is not None:
                hasher.update(self._recipe.fingerprint.encode())

    def place(self, index: int) -> str:
        return f"sample {index}"

    def _are_pixels(self, name: str, array: NpzArray) -> bool:
        return array.dtype == np.uint8 and self._types[name].is_float

    def _common_length(self) -> int:
        lengths = {array.name: array.shape[0] for array in self._arrays.values()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"arrays differ in their number of samples: {_listed(lengths)}", path=self.path)
        return next(iter(lengths.values()))

    def _check(self, name: str, array: NpzArray) -> None:
        expected = self._types[name]
        shape = array.shape[1:]
        if self._are_pixels(name, array):
            if self._recipe is None:
                message = f"array '{array.name}' is uint8 and model input '{name}' is {expected.dtype}"
                hint = "give a recipe with mean and scale (--recipe R.toml), or save ready float32"
                raise DataError(message, path=self.path, hint=hint)
            _check_recipe(self._recipe, name, expected, self.path)
        elif not _fits(array.dtype, expected):
            message = f"array '{array.name}' is {array.dtype}, model input '{name}' takes {expected.dtype}"
            raise DataError(message, path=self.path, hint=f"save it as {expected.dtype}")
        if shape != expected.shape[1:]:
            message = (
                f"array '{array.name}' has samples of shape {list(shape)}, "
                f"model input '{name}' takes {list(expected.shape[1:])}"
            )
            hint = "save samples of the model's size and channel count"
            raise DataError(message, path=self.path, hint=hint)

    def _prepared(self, name: str, rows: NDArray[np.generic]) -> NDArray[np.generic]:
        if rows.dtype == np.uint8 and self._types[name].is_float and self._recipe is not None:
            return pictures.normalise(rows, self._recipe)
        kind = "float32" if self._types[name].is_float else self._types[name].dtype
        with np.errstate(over="ignore"):  # infinities are reported by whoever reads
            return np.ascontiguousarray(rows, np.dtype(kind))

    def _labels(self, array: NpzArray | None) -> NDArray[np.int64] | None:
        if array is None:
            return None
        if array.dtype.kind not in "iu" or array.shape != (self._count,):
            message = f"array 'labels' is {array.dtype} {list(array.shape)}"
            raise DataError(f"{message}, expected integers [{self._count}]", path=self.path)
        values = array.all().astype(np.int64)
        if values.size and values.min() < 0:
            at = int(np.argmin(values))
            raise DataError(f"label of sample {at} is {values[at]}, expected at least 0", path=self.path)
        return values

    def _splits(self, array: NpzArray | None) -> tuple[str, ...] | None:
        if array is None:
            return None
        if array.dtype.kind not in "US" or array.shape != (self._count,):
            message = f"array 'split' is {array.dtype} {list(array.shape)}"
            raise DataError(f"{message}, expected texts [{self._count}]", path=self.path)
        return tuple(str(name) for name in array.all().astype(np.str_))


def _required(recipe: Recipe | None, path: Path) -> Recipe:
    if recipe is None:
        hint = "give one with --recipe R.toml (size, crop, channels, mean, scale)"
        raise DataError("holds pictures, which need a recipe", path=path, hint=hint)
    return recipe


def _only_input(graph_inputs: Mapping[str, TensorType], path: Path) -> str:
    if len(graph_inputs) != 1:
        inputs = f"{len(graph_inputs)} inputs: {', '.join(graph_inputs)}"
        hint = "give an .npz file with one array for each input"
        raise DataError(f"is a folder of pictures, but the model has {inputs}", path=path, hint=hint)
    return next(iter(graph_inputs))


def _check_recipe(recipe: Recipe, name: str, expected: TensorType, path: Path) -> None:
    """A recipe must make what the input takes; says which key is at odds where that is clear."""
    takes = expected.shape[1:]
    if not expected.is_float:
        raise DataError(f"model input '{name}' takes {expected.dtype}, a recipe makes float32", path=path)
    if recipe.sample_shape == takes:
        return
    makes = f"{list(recipe.sample_shape)} ({recipe.layout})"
    message = f"recipe makes {makes}, model input '{name}' takes {list(takes)}"
    raise DataError(message, path=path, hint=_recipe_hint(recipe, takes))


def _recipe_hint(recipe: Recipe, takes: tuple[int, ...]) -> str:
    if len(takes) != 3:
        return "pictures fit inputs of 4 dimensions only: give an .npz file"
    if takes[0] in (1, 3) and recipe.layout == "NHWC" and takes[-1] not in (1, 3):
        return 'set layout = "NCHW"'
    if takes[-1] in (1, 3) and recipe.layout == "NCHW" and takes[0] not in (1, 3):
        return 'set layout = "NHWC"'
    channels, height, width = takes if recipe.layout == "NCHW" else (takes[2], takes[0], takes[1])
    if channels not in (1, 3):
        return f"an input with {channels} channels takes no pictures: give an .npz file"
    if channels != recipe.channel_count:
        return 'set channels = "L"' if channels == 1 else 'set channels = "RGB" or "BGR"'
    return f"set size = {height}" if height == width else f"set size = [{height}, {width}]"


def _picture_names(folder: Path) -> tuple[str, ...]:
    """Names of the folder's pictures, sorted.

    Raises:
        DataError: There is none, or the folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as failure:
        raise DataError(f"cannot be read: {failure.strerror or failure}", path=folder) from failure
    names = tuple(entry.name for entry in entries if _is_picture(entry))
    if not names:
        suffixes = ", ".join(sorted(pictures.SUFFIXES))
        hint = "subfolders are not searched: name the folder that holds the pictures themselves"
        raise DataError(f"the folder holds no pictures ({suffixes})", path=folder, hint=hint)
    return names


def _is_picture(entry: Path) -> bool:
    return entry.suffix.lower() in pictures.SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def _input_arrays(
    arrays: Mapping[str, NpzArray], graph_inputs: Mapping[str, TensorType], path: Path
) -> dict[str, NpzArray]:
    if len(graph_inputs) == 1:
        name = next(iter(graph_inputs))
        found = arrays.get(name) or arrays.get("images")
        if found is not None:
            return {name: found}
    missing = [name for name in graph_inputs if name not in arrays]
    if not missing:
        return {name: arrays[name] for name in graph_inputs}
    message = f"has no array '{missing[0]}'; it holds {', '.join(arrays) or 'no arrays'}"
    wanted = ", ".join(graph_inputs)
    hint = f"name the arrays like the model's inputs: {wanted}"
    raise DataError(message, path=path, hint=hint + (" (or 'images')" if len(graph_inputs) == 1 else ""))


def _fits(dtype: np.dtype[np.generic], expected: TensorType) -> bool:
    """Floats for float inputs; integers for integer inputs of at least that width; booleans for booleans."""
    if expected.is_float:
        return dtype.kind == "f"
    return np.can_cast(dtype, np.dtype(expected.dtype), "safe")


def _listed(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {length}" for name, length in lengths.items())


def first_not_finite(rows: NDArray[np.generic]) -> tuple[int, float] | None:
    """The first row of [n, ...] that holds NaN or infinity, and that value; None if all are finite."""
    if rows.dtype.kind != "f" or bool(np.isfinite(rows).all()):
        return None
    flat = rows.reshape(len(rows), -1)
    row = int(np.argmin(np.isfinite(flat).all(axis=1)))
    value = flat[row][~np.isfinite(flat[row])][0]
    return row, float(value) if not math.isnan(value) else math.nan

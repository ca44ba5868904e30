"""Data sets from folders and arrays, and every way in which they may not fit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.calibrate.data import CALIBRATION_SPLIT, EVALUATION_SPLIT, Dataset, open_data
from engine.calibrate.recipe import Recipe
from engine.errors import DataError
from engine.graph.graph import TensorType

RGB_INPUT = {"image": TensorType((1, 3, 8, 8), "float32")}
RECIPE = Recipe(size=8, crop="none", mean=10.0, scale=2.0)


def folder_of(tmp_path: Path, count: int, labels: str | None = None) -> Path:
    """Pictures 00.png, 01.png, ...: flat, of their number's grey."""
    folder = tmp_path / "pictures"
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (8, 8), (index,) * 3).save(folder / f"{index:02}.png")
    if labels is not None:
        (folder / "labels.csv").write_text(labels, encoding="utf-8")
    return folder


def error_of(path: Path, inputs: dict[str, TensorType] | None = None, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        open_data(path, graph_inputs=RGB_INPUT if inputs is None else inputs, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def npz(tmp_path: Path, **arrays: np.ndarray) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def greys(dataset: Dataset, size: int = 2) -> list[float]:
    return [float(row.flat[0]) * 2 + 10 for batch in dataset.batches(size) for row in batch["image"]]


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 5)
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    dataset = open_data(folder, graph_inputs=RGB_INPUT, recipe=RECIPE)
    assert len(dataset) == 5 and dataset.labels is None and dataset.split is None and dataset.splits == ()
    batches = list(dataset.batches(2))
    assert [batch["image"].shape for batch in batches] == [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8)]
    assert batches[0]["image"].dtype == np.float32
    assert greys(dataset) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(dataset.read(3, 4)["image"], batches[1]["image"][1:])
    assert dataset.place(3) == "picture '03.png'"
    with pytest.raises(IndexError):
        dataset.read(5, 6)


def test_labels_splits_and_the_first_samples(tmp_path: Path) -> None:
    rows = "".join(f"{i:02}.png,{i * 10},{'calibration' if i % 2 else 'evaluation'}\n" for i in reversed(range(6)))
    folder = folder_of(tmp_path, 6, "file,class_index,split\n" + rows)

    def opened(**options: object) -> Dataset:
        return open_data(folder, graph_inputs=RGB_INPUT, recipe=RECIPE, **options)  # type: ignore[arg-type]

    calibration = opened(default_split=CALIBRATION_SPLIT)
    assert greys(calibration) == [1, 3, 5] and calibration.labels is not None
    np.testing.assert_array_equal(calibration.labels, [10, 30, 50])
    assert calibration.labels.dtype == np.int64
    assert calibration.split == "calibration" and calibration.splits == ("calibration", "evaluation")
    assert greys(opened(default_split=EVALUATION_SPLIT, samples=2)) == [0, 2]
    assert greys(opened(split="evaluation", default_split=CALIBRATION_SPLIT)) == [0, 2, 4]
    assert len(opened()) == 6 and len(opened(samples=100)) == 6
    assert "has no split 'train'; choose one of: calibration, evaluation" in error_of(
        folder, recipe=RECIPE, split="train"
    )
    calibration.check_labels(51)
    with pytest.raises(DataError, match=r"label of picture '05.png' is 50, the model has classes 0..49"):
        calibration.check_labels(50)


def test_labels_without_a_split_column(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2, "file,class_index\n00.png,3\n01.png,4\n")
    dataset = open_data(folder, graph_inputs=RGB_INPUT, recipe=RECIPE, default_split=CALIBRATION_SPLIT)
    assert len(dataset) == 2 and dataset.split is None
    dataset.check_labels(5)
    assert "has no splits, so no split 'evaluation'" in error_of(folder, recipe=RECIPE, split="evaluation")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("file,class_index\n00.png,1\n", "has no row for 1 of the folder's 2 pictures, such as '01.png'; add"),
        ("file,class_index\n00.png,1\n01.png,x\n", "line 3 ('01.png') has class_index 'x', expected an integer"),
        ("file,class_index\n00.png,1\n01.png,-1\n", "line 3 ('01.png') has class_index '-1', expected an integer"),
        ("file,class_index\n00.png,1\n01.png,1.0\n", "has class_index '1.0', expected an integer"),
        ("file,class_index\n00.png,1\n01.png,1\n02.png,1\n", "names '02.png', which is not a picture"),
        ("file,class_index\n00.png,1\n00.png,1\n", "line 3 names '00.png' a second time"),
        ("file,class_index\n00.png\n", "line 2 has 1 fields, expected 2: file,class_index"),
        ("00.png,1\n01.png,1\n", "line 1 is '00.png,1', expected the header"),
        ("", "line 1 is '', expected the header"),
        ('file,class_index\n"00.png,1\n', "is not valid CSV"),
    ],
)
def test_malformed_labels(tmp_path: Path, table: str, expected: str) -> None:
    folder = folder_of(tmp_path, 2, table)
    message = error_of(folder, recipe=RECIPE)
    assert expected in message and "labels.csv" in message


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "the folder holds no pictures (.bmp, .jpeg, .jpg, .png, .webp)" in error_of(empty, recipe=RECIPE)
    folder = folder_of(tmp_path, 1)
    assert "holds pictures, which need a recipe; give one with --recipe" in error_of(folder)
    two = RGB_INPUT | {"mask": TensorType((1, 8), "float32")}
    assert "the model has 2 inputs: image, mask; give an .npz file" in error_of(folder, two, recipe=RECIPE)
    assert "0 samples asked for" in error_of(folder, recipe=RECIPE, samples=0)
    assert "does not exist; name a folder of pictures" in error_of(tmp_path / "none")
    (tmp_path / "x.txt").write_text("")
    assert "is neither a folder of pictures nor an .npz file" in error_of(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("shape", "recipe", "hint"),
    [
        ((1, 3, 10, 10), RECIPE, "recipe makes [3, 8, 8] (NCHW), model input 'x' takes [3, 10, 10]; set size = 10"),
        ((1, 3, 10, 12), RECIPE, "set size = [10, 12]"),
        ((1, 1, 8, 8), RECIPE, 'set channels = "L"'),
        ((1, 3, 8, 8), Recipe(size=8, channels="L"), 'set channels = "RGB" or "BGR"'),
        ((1, 8, 8, 3), RECIPE, 'set layout = "NHWC"'),
        ((1, 3, 8, 8), Recipe(size=8, layout="NHWC"), 'set layout = "NCHW"'),
        ((1, 4, 8, 8), RECIPE, "an input with 4 channels takes no pictures"),
        ((1, 10), RECIPE, "pictures fit inputs of 4 dimensions only"),
    ],
)
def test_recipe_that_does_not_fit(tmp_path: Path, shape: tuple[int, ...], recipe: Recipe, hint: str) -> None:
    folder = folder_of(tmp_path, 1)
    assert hint in error_of(folder, {"x": TensorType(shape, "float32")}, recipe=recipe)


def test_unreadable_picture_is_named_when_it_is_reached(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 3)
    (folder / "01.png").write_bytes(b"broken")
    dataset = open_data(folder, graph_inputs=RGB_INPUT, recipe=RECIPE)
    batches = dataset.batches(1)
    next(batches)
    with pytest.raises(DataError, match=r"01\.png: is not a readable picture"):
        next(batches)


def test_npz_of_pixels_and_of_ready_samples(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 3, 8, 8), np.uint8)
    split = np.array(["calibration", "evaluation", "evaluation"] * 2)
    path = npz(tmp_path, images=pixels, labels=np.arange(6, dtype=np.uint8), split=split)
    dataset = open_data(path, graph_inputs=RGB_INPUT, recipe=RECIPE, split="evaluation", samples=3)
    (batch,) = dataset.batches(8)
    np.testing.assert_array_equal(batch["image"], (pixels[[1, 2, 4]].astype(np.float32) - 10) / 2)
    assert dataset.labels is not None and dataset.labels.tolist() == [1, 2, 4]
    assert dataset.place(2) == "sample 4"
    ready = npz(tmp_path, image=pixels.astype(np.float64))
    (batch,) = open_data(ready, graph_inputs=RGB_INPUT).batches(8)
    assert batch["image"].dtype == np.float32
    np.testing.assert_array_equal(batch["image"], pixels)


def test_npz_for_several_inputs_and_types(tmp_path: Path) -> None:
    inputs = {"ids": TensorType((1, 5), "int64"), "x": TensorType((1, 2), "float32")}
    ids, x = np.arange(15, dtype=np.int32).reshape(3, 5), np.ones((3, 2), np.float32)
    dataset = open_data(npz(tmp_path, x=x, ids=ids), graph_inputs=inputs)
    batch = dataset.read(1, 2)
    assert batch["ids"].dtype == np.int64 and batch["ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert "model input 'ids' takes int64" in error_of(npz(tmp_path, x=x, ids=ids / 2), inputs)
    differ = error_of(npz(tmp_path, x=x[:2], ids=ids), inputs)
    assert "arrays differ in their number of samples: ids 3, x 2" in differ
    missing = error_of(npz(tmp_path, x=x), inputs)
    assert "has no array 'ids'; it holds x; name the arrays like the model's inputs: ids, x" in missing


@pytest.mark.parametrize(
    ("arrays", "recipe", "expected"),
    [
        ({"y": np.zeros((2, 3, 8, 8))}, None, "has no array 'image'; it holds y"),
        ({"images": np.zeros((2, 3, 8, 8), np.uint8)}, None, "is uint8 and model input 'image' is float32; give a rec"),
        ({"images": np.zeros((2, 3, 9, 8), np.uint8)}, RECIPE, "samples of shape [3, 9, 8], model input 'image' tak"),
        ({"images": np.zeros((2, 1, 8, 8))}, None, "samples of shape [1, 8, 8], model input 'image' takes [3, 8, 8]"),
        ({"images": np.zeros((2, 3, 8, 8), np.int32)}, None, "is int32, model input 'image' takes float32"),
        ({"images": np.zeros((0, 3, 8, 8))}, None, "holds no samples"),
        ({"images": np.zeros((2, 3, 8, 8)), "labels": np.zeros(3, np.int64)}, None, "expected integers [2]"),
        ({"images": np.zeros((2, 3, 8, 8)), "labels": np.zeros(2)}, None, "array 'labels' is float64 [2], expected"),
        ({"images": np.zeros((2, 3, 8, 8)), "labels": np.array([1, -2])}, None, "label of sample 1 is -2"),
        ({"images": np.zeros((2, 3, 8, 8)), "split": np.zeros(2)}, None, "expected texts [2]"),
    ],
)
def test_npz_that_does_not_fit(
    tmp_path: Path, arrays: dict[str, np.ndarray], recipe: Recipe | None, expected: str
) -> None:
    assert expected in error_of(npz(tmp_path, **arrays), recipe=recipe)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_not_finite_samples_are_named(tmp_path: Path, wrong: float) -> None:
    samples = np.zeros((5, 3, 8, 8), np.float32)
    samples[3, 1, 2, 3] = wrong
    dataset = open_data(npz(tmp_path, image=samples), graph_inputs=RGB_INPUT)
    batches = dataset.batches(2)
    next(batches)
    with pytest.raises(DataError, match=f"sample 3 holds {wrong} for model input 'image'; remove the sample"):
        next(batches)


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", 4)
    two = folder_of(tmp_path / "two", 4, "file,class_index\n" + "".join(f"0{i}.png,1\n" for i in range(4)))

    def fingerprint(folder: Path, recipe: Recipe = RECIPE, samples: int | None = None) -> str:
        return open_data(folder, graph_inputs=RGB_INPUT, recipe=recipe, samples=samples).fingerprint

    assert fingerprint(one) == fingerprint(two)  # labels do not count
    assert fingerprint(one) != fingerprint(one, samples=3)
    assert fingerprint(one) != fingerprint(one, recipe=Recipe(size=8))
    before = fingerprint(two, samples=2)
    Image.new("RGB", (8, 8), (99,) * 3).save(two / "03.png")
    assert fingerprint(two, samples=2) == before and fingerprint(two) != fingerprint(one)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    path = npz(tmp_path, image=np.zeros((3000, 3, 8, 8), np.float32))
    dataset = open_data(path, graph_inputs=RGB_INPUT)

    def peak(samples: int) -> int:
        tracemalloc.start()
        try:
            for number, _ in enumerate(dataset.batches(4)):
                if number * 4 >= samples:
                    break
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(8)
    assert peak(3000) < peak(100) + 50_000

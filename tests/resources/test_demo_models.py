"""The shipped demo models: what they contain, how big they are, what they achieve on the shipped samples."""

import gzip
import json
import struct
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from resources.models.train import delivery, testset
from resources.models.train.fmnist import augment, balanced_subset
from resources.models.train.mobile_fmnist import MobileFmnist
from resources.models.train.swin_fmnist import SwinFmnist, WindowGrid, shift_mask
from resources.models.train.training import Schedule

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
SIZE_LIMIT_BYTES = 2_000_000
REQUIRED_OPS = {
    "swin_fmnist": {
        "Conv": 1,  # patch embedding
        "LayerNormalization": 11,
        "MatMul": 4 * 6 + 1,  # per block qkv, scores, values, proj, fc1, fc2; patch merging
        "Softmax": 4,
        "Erf": 4,
        "Transpose": 12,
        "Reshape": 16,
        "Slice": 8 + 4,  # two rolls of two axes, cut in two each; patch merging
        "Gemm": 1,
        "ReduceMean": 1,
    },
    "mobile_fmnist": {"Conv": 20, "Clip": 14, "Sigmoid": 6, "Mul": 6, "ReduceMean": 7, "Add": 4, "Gemm": 1},
}


@pytest.fixture(params=sorted(REQUIRED_OPS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def path(name: str) -> Path:
    return MODELS / f"{name}.onnx"


def load_samples() -> dict[str, np.ndarray]:
    with np.load(MODELS / "fmnist_samples.npz") as samples:
        return dict(samples)


def test_is_small(path: Path) -> None:
    assert path.stat().st_size < SIZE_LIMIT_BYTES


def test_contains_the_operators_it_is_there_for(name: str, path: Path) -> None:
    found = Counter(node.op_type for node in onnx.load(path).graph.node)
    missing = {op: count for op, count in REQUIRED_OPS[name].items() if found[op] < count}
    assert not missing


def test_only_the_batch_is_symbolic(path: Path) -> None:
    graph = onnx.load(path).graph
    (image,), (logits,) = graph.input, graph.output
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (image, logits)
    }
    assert shapes == {"image": ["batch", 1, 28, 28], "logits": ["batch", 10]}
    assert not [node.name for node in graph.node if node.op_type == "Shape"]


def test_nodes_are_named_after_their_modules(name: str, path: Path) -> None:
    names = {node.name for node in onnx.load(path).graph.node}
    expected = {
        "swin_fmnist": "/layers.0/blocks.1/attn/qkv/MatMul",
        "mobile_fmnist": "/blocks.1/depthwise/conv/Conv",
    }
    assert expected[name] in names


def test_samples_are_labelled_and_split() -> None:
    samples = load_samples()
    assert (samples["images"].dtype, samples["images"].shape) == (np.uint8, (512, 1, 28, 28))
    assert (samples["labels"].dtype, samples["labels"].shape) == (np.int64, (512,))
    assert Counter(samples["split"].tolist()) == {"calibration": 256, "evaluation": 256}
    for split in ("calibration", "evaluation"):
        per_class = np.bincount(samples["labels"][samples["split"] == split], minlength=10)
        assert per_class.max() - per_class.min() <= 1


def test_classifies_the_evaluation_samples(path: Path) -> None:
    samples = load_samples()
    chosen = samples["split"] == "evaluation"
    recipe = tomllib.loads((MODELS / "fmnist.toml").read_text())["input"]
    image = (samples["images"][chosen].astype(np.float32) - recipe["mean"][0]) / recipe["scale"][0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(["logits"], {"image": image.astype(np.float32)})[0])
    assert (logits.argmax(1) == samples["labels"][chosen]).mean() >= 0.88


def test_recorded_accuracy_is_of_this_file(name: str, path: Path) -> None:
    record = json.loads((MODELS / "accuracy.json").read_text())[name]
    assert record["size_bytes"] == path.stat().st_size
    assert record["test_images"] == 10_000
    assert record["float_top1"] >= 0.90


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), compresslevel=1))


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Noise in the published files' form: 40 training and 20 test pictures."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


@pytest.mark.parametrize("build", [SwinFmnist, MobileFmnist])
def test_training_script_delivers(
    build: type[SwinFmnist | MobileFmnist], tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    request.addfinalizer(lambda: (torch.set_num_threads(threads), torch.set_rng_state(state)))
    schedule = Schedule(epochs=1, peak_learning_rate=1e-3, weight_decay=0.05, seed=3, batch_size=16)
    output = tmp_path / "out"
    delivery.main("model", build, schedule, ["--data", str(tiny_data), "--output", str(output)])
    record = json.loads((output / "accuracy.json").read_text())["model"]
    assert (record["seed"], record["test_images"]) == (3, 20)
    assert record["size_bytes"] == (output / "model.onnx").stat().st_size
    assert record["max_abs_difference_from_torch"] <= delivery.TOLERANCE


def test_test_set_is_written_whole_behind_the_calibration_pictures(tiny_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    testset.main([str(path), "--data", str(tiny_data), "--calibration", "15"])
    with np.load(path) as samples:
        assert samples["images"].shape == (35, 1, 28, 28)
        assert samples["split"].tolist() == ["calibration"] * 15 + ["evaluation"] * 20
        assert samples["labels"][15:].tolist() == [index % 10 for index in range(20)]


def test_balanced_subset_says_which_class_is_too_small() -> None:
    with pytest.raises(ValueError, match="class 0 has 2 pictures, 3 are needed"):
        balanced_subset(np.arange(20) % 10, 30, seed=0)


def test_window_reverse_undoes_partition() -> None:
    grid = WindowGrid(size=14, window=7)
    x = torch.arange(2 * 14 * 14 * 3).reshape(2, 14, 14, 3)
    windows = grid.partition(x, channels=3)
    assert windows.shape == (8, 49, 3)
    assert torch.equal(windows[1].reshape(7, 7, 3), x[0, :7, 7:])
    assert torch.equal(grid.reverse(windows, channels=3), x)


def test_shift_mask_keeps_former_neighbours_together() -> None:
    mask = shift_mask(WindowGrid(size=4, window=2), shift=1)[:, 0] == 0
    assert mask[0].all()  # the first window holds no seam
    assert torch.equal(mask[3], torch.eye(4, dtype=torch.bool))  # the last one holds four corners


def test_augmentation_shifts_and_mirrors() -> None:
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[0, 0, 10, 5] = 255
    batch = augment(image.expand(400, 1, 28, 28), torch.Generator().manual_seed(0))
    found = {tuple(position) for position in batch.nonzero()[:, 2:].tolist()}
    shifts = (-1, 0, 1)
    assert found == {(10 + row, column + by) for row in shifts for column in (5, 22) for by in shifts}

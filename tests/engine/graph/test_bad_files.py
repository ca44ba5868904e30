"""Files that cannot be opened: one clear line each, with the file, the node and the way out."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import CalibrationError, GraphError, ModelFileError, QuantscopeError
from engine.graph.finite import check_finite
from engine.graph.load import load_model
from tests.engine.graph.onnx_models import build, node

WEIGHT = np.arange(4096, dtype=np.float32).reshape(64, 64)
PLAIN = build([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, ["y"], {"w": WEIGHT})


def _error(path: Path, kind: type[QuantscopeError], **options: object) -> str:
    with pytest.raises(kind) as caught:
        load_model(path, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def _saved(folder: Path, model: onnx.ModelProto, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "content",
    [b"hello, this is text", b"\x00" * 64, b"\xff\xfe\x01", b"\x08\x07", b"PNG" * 40],
    ids=["text", "zeros", "noise", "no graph", "repeated"],
)
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file" in _error(path, ModelFileError)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    assert "is empty" in _error(path, ModelFileError)


def test_missing(tmp_path: Path) -> None:
    assert "No such file" in _error(tmp_path / "none.onnx", ModelFileError)


def test_folder(tmp_path: Path) -> None:
    assert "cannot be read" in _error(tmp_path, ModelFileError)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, kept: float) -> None:
    path = _saved(tmp_path, PLAIN)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "truncated" in _error(path, ModelFileError)


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": 1}))


def _torch_saved(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02.")


@pytest.mark.parametrize("write", [_pickled, _torch_saved])
@pytest.mark.parametrize("name", ["m.onnx", "m.pt", "m.pth", "m.pkl"])
def test_pickles_are_refused(tmp_path: Path, write: Callable[[Path], None], name: str) -> None:
    write(tmp_path / name)
    text = _error(tmp_path / name, ModelFileError)
    assert "pickle" in text
    assert "export" in text


def test_other_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not of a model" in _error(path, ModelFileError)


def test_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    assert "damaged archive" in _error(path, ModelFileError)


# --- external data


def _external(folder: Path, location: str) -> Path:
    model = onnx.ModelProto()
    model.CopyFrom(PLAIN)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="length", value=str(WEIGHT.nbytes))
    return _saved(folder, model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "models"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    return inside


def test_external_data_is_read(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "w.bin").write_bytes(WEIGHT.tobytes())
    graph = load_model(_external(folder, "parts/w.bin"))
    np.testing.assert_array_equal(next(iter(graph.constants.values())).array, WEIGHT.T)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "x/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", "/etc/hosts"]
)
def test_external_data_outside_the_folder(folder: Path, location: str) -> None:
    assert "outside the model's folder" in _error(_external(folder, location), ModelFileError)


def test_external_data_by_absolute_path_into_the_folder(folder: Path) -> None:
    (folder / "w.bin").write_bytes(WEIGHT.tobytes())
    assert "outside" in _error(_external(folder, str(folder / "w.bin")), ModelFileError)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
@pytest.mark.parametrize("through_folder", [False, True])
def test_external_data_by_symbolic_link(folder: Path, through_folder: bool) -> None:
    if through_folder:
        (folder / "link").symlink_to(folder.parent)
        path = _external(folder, "link/secret.bin")
    else:
        (folder / "w.bin").symlink_to(folder.parent / "secret.bin")
        path = _external(folder, "w.bin")
    assert "outside" in _error(path, ModelFileError)


def test_external_data_missing(folder: Path) -> None:
    text = _error(_external(folder, "w.bin"), ModelFileError)
    assert "'w.bin'" in text
    assert "missing" in text


def test_external_data_truncated(folder: Path) -> None:
    (folder / "w.bin").write_bytes(WEIGHT.tobytes()[:-4])
    assert "truncated" in _error(_external(folder, "w.bin"), ModelFileError)


def test_tensor_shorter_than_its_shape(tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(PLAIN)
    model.graph.initializer[0].raw_data = WEIGHT.tobytes()[:-8]
    assert "needs 16384 bytes" in _error(_saved(tmp_path, model), ModelFileError)


def test_weights_survive_replacement_of_the_file(tmp_path: Path) -> None:
    path = _saved(tmp_path, PLAIN)
    graph = load_model(path)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    other.replace(path)
    np.testing.assert_array_equal(next(iter(graph.constants.values())).array, WEIGHT.T)


def test_overwriting_an_open_file_is_noticed(tmp_path: Path) -> None:
    path = _saved(tmp_path, PLAIN)
    graph = load_model(path)
    path.write_bytes(b"something else")
    with pytest.raises(ModelFileError, match="overwritten while it was open"):
        _ = next(iter(graph.constants.values())).array


# --- graphs


def _broken(**changes: object) -> onnx.ModelProto:
    options: dict[str, object] = {
        "nodes": [node("Relu", ["x"], ["y"])],
        "inputs": {"x": [1, 4]},
        "outputs": ["y"],
        **changes,
    }
    return build(**options)  # type: ignore[arg-type]


CYCLE = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]

BROKEN = {
    "undefined input": (_broken(nodes=[node("Relu", ["nothing"], ["y"])]), "'nothing' is made by no node"),
    "undefined output": (_broken(outputs=["z"]), "output 'z' is made by no node"),
    "made twice": (_broken(nodes=[node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "'y' is made twice"),
    "cycle": (_broken(nodes=CYCLE), "cycle"),
    "unbound symbols": (
        _broken(inputs={"x": ["batch", 3, "height", "width"]}),
        "--bind height=VALUE --bind width=VALUE",
    ),
    "misfit": (_broken(nodes=[node("MatMul", ["x", "w"], ["y"])], constants={"w": WEIGHT}), "does not fit"),
    "bad reshape": (
        _broken(nodes=[node("Reshape", ["x", "s"], ["y"])], constants={"s": np.array([3, 3])}),
        "[1, 4] cannot become [3, 3]",
    ),
    "axis out of range": (_broken(nodes=[node("Softmax", ["x"], ["y"], axis=7)]), "axis 7 is out of range"),
    "index out of range": (
        _broken(nodes=[node("Gather", ["x", "i"], ["y"])], constants={"i": np.array([5])}),
        "index is out of range",
    ),
    "ancient opset": (_broken(opset=3), "opset 3 is not supported"),
    "opset of the future": (_broken(opset=999), "opset 999 is not supported"),
    "too few inputs": (_broken(nodes=[node("Add", ["x"], ["y"])]), "Add has 1 inputs, it takes 2 to 2"),
    "malformed attribute": (_broken(nodes=[node("Softmax", ["x"], ["y"], axis="last")]), "malformed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_invalid_graphs(tmp_path: Path, name: str) -> None:
    model, message = BROKEN[name]
    assert message in _error(_saved(tmp_path, model), GraphError)


def test_unknown_binding(tmp_path: Path) -> None:
    text = _error(_saved(tmp_path, _broken(inputs={"x": ["n", 4]})), GraphError, bindings={"m": 3})
    assert "no symbolic dimension is named m; the model has: n" in text


def test_binding_must_be_positive(tmp_path: Path) -> None:
    text = _error(_saved(tmp_path, _broken(inputs={"x": ["n", 4]})), GraphError, bindings={"n": 0})
    assert "not positive" in text


# --- weights


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite(tmp_path: Path, bad: float) -> None:
    weight = WEIGHT.copy()
    weight[3, 5] = bad
    model = build([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, ["y"], {"w": weight})
    graph = load_model(_saved(tmp_path, model))
    with pytest.raises(CalibrationError, match=r"node '/net/y': constant input 1 .* has 1 values of 4096") as caught:
        check_finite(graph)
    assert "\n" not in str(caught.value)


def test_infinities_in_a_mask_are_meant(tmp_path: Path) -> None:
    mask = np.array([0, -np.inf, 0, 0], np.float32)
    model = build([node("Add", ["x", "mask"], ["y"])], {"x": [1, 4]}, ["y"], {"mask": mask})
    check_finite(load_model(_saved(tmp_path, model)))


# --- damage of any kind

_DAMAGED = build(
    [
        node("MatMul", ["x", "w"], ["a"]),
        node("Reshape", ["a", "shape"], ["b"]),
        node("Softmax", ["b"], ["y"], axis=-1),
        node("Conv", ["image", "kernel"], ["d"], pads=[1, 1, 1, 1]),
        node("Pad", ["d", "pads"], ["z"]),
        node("CumSum", ["b", "axis"], ["s"]),
    ],
    {"x": ["n", 8], "image": [1, 2, 6, 6]},
    ["y", "z", "s"],
    {
        "w": np.ones((8, 8), np.float32),
        "shape": np.array([0, -1]),
        "kernel": np.ones((3, 2, 3, 3), np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "axis": np.array(1),
    },
).SerializeToString()


@given(st.lists(st.tuples(st.integers(0, len(_DAMAGED) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@example([(0, 0)])
def test_damage_is_an_expected_error_or_harmless(changes: list[tuple[int, int]]) -> None:
    content = bytearray(_DAMAGED)
    for place, byte in changes:
        content[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(content)
        try:
            graph = load_model(path)
            for constant in graph.constants.values():
                assert constant.array.shape == constant.type.shape
        except QuantscopeError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)

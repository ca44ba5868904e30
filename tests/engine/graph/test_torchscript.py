"""TorchScript files: scripted and traced modules, missing shapes, and archives that could do more than compute."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import GraphError, ModelFileError
from engine.graph.float_run import run_float
from engine.graph.load import load_model
from tests.engine.graph.onnx_models import type_names

pytestmark = pytest.mark.filterwarnings("ignore")

PICTURE = {"x.1": 3, "x.2": 8, "x.3": 8}


class Net(nn.Module):
    """Convolutions, a loop and a branch over shapes, a flag with a default, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor, double: bool = True) -> Tensor:
        """``x`` [N, 3, H, W] to [N, 5]."""
        y = self.stem(x).mean((2, 3))
        if double and y.shape[0] == 1:
            y = y * 2
        for i in range(2):
            y = y + i
        return nn.functional.gelu(self.fc(self.norm(y)))


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)

    def forward(self, ids: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.table(ids)
        return rows * weight, rows.sum(-1)


def save(module: Any, path: Path) -> Path:
    torch.jit.save(module, path)
    return path


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    net.stem(torch.randn(8, 3, 8, 8))  # statistics of the batch norm
    return net.eval()


@pytest.fixture(scope="module")
def traced(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = torch.jit.trace(net, torch.zeros(1, 3, 8, 8))
    return save(module, tmp_path_factory.mktemp("traced") / "net.pt")


@pytest.fixture(scope="module")
def scripted(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(torch.jit.script(net), tmp_path_factory.mktemp("scripted") / "net.pth")


def frozen(net: Net, folder: Path) -> Path:
    return save(torch.jit.freeze(torch.jit.script(net)), folder / "net.ts")


def assert_same(net: Net, path: Path, x: Tensor, **bindings: int) -> None:
    graph = load_model(path, bindings={name.replace("_", "."): size for name, size in bindings.items()})
    assert graph.outputs == ("output",)
    torch.testing.assert_close(run_float(graph, {"x": x})["output"], net(x).detach())


def test_a_traced_file_knows_its_shapes(net: Net, traced: Path) -> None:
    graph = load_model(traced)
    assert graph.types["x"].shape == (1, 3, 8, 8)
    assert type_names(graph)[:3] == ["Conv", "Relu", "ReduceMean"]
    assert type_names(graph)[-3:] == ["LayerNormalization", "Gemm", "Gelu"]
    assert graph.by_id["/stem/0/Conv"].namespace == ("stem", "0")
    assert graph.notes[0] == "TorchScript, traced for x float32[1, 3, 8, 8]"
    assert_same(net, traced, torch.randn(1, 3, 8, 8))


def test_sizes_of_a_traced_file_can_be_changed(net: Net, traced: Path) -> None:
    assert_same(net, traced, torch.randn(1, 3, 12, 9), x_2=12, x_3=9)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_scripted_file_follows_its_control_flow_for_the_given_shapes(net: Net, scripted: Path, batch: int) -> None:
    assert_same(net, scripted, torch.randn(batch, 3, 8, 8), x_0=batch, x_1=3, x_2=8, x_3=8)


def test_a_frozen_file(net: Net, tmp_path: Path) -> None:
    assert_same(net, frozen(net, tmp_path), torch.randn(1, 3, 8, 8), x_1=3, x_2=8, x_3=8)


def test_a_module_of_a_package_called_models(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Net, "__module__", "zoo.models.nets")  # a .pt2 archive keeps its programs in such a folder
    path = save(torch.jit.trace(net, torch.zeros(1, 3, 8, 8)), tmp_path / "net.pt")
    with zipfile.ZipFile(path) as archive:
        assert any("/models/" in name for name in archive.namelist())
    assert_same(net, path, torch.randn(1, 3, 8, 8))


def test_the_digest_is_the_files(traced: Path, scripted: Path) -> None:
    assert load_model(traced).digest == load_model(traced, bindings={"x.3": 9}).digest
    assert load_model(traced).digest != load_model(scripted, bindings=PICTURE).digest


def test_element_types_are_found_by_running(tmp_path: Path) -> None:
    module = Lookup().eval()
    path = save(torch.jit.script(module), tmp_path / "lookup.pt")
    graph = load_model(path, bindings={"ids.1": 3, "weight.1": 3, "weight.2": 1})
    assert graph.types["ids"].dtype == "int64"
    ids, weight = torch.tensor([[1, 5, 2]]), torch.randn(1, 3, 1)
    results = run_float(graph, {"ids": ids, "weight": weight})
    for name, expected in zip(("output.0", "output.1"), module(ids, weight), strict=True):
        torch.testing.assert_close(results[name], expected.detach())


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        ({}, "does not say the shapes of its inputs: x; give every size, for example --bind x=1x3x224x224"),
        ({"x.3": 8}, "does not say the shapes of its inputs: x"),
        ({"y.1": 8}, r"no input dimension is named y\.1; the model has: x\.AXIS"),
        (PICTURE | {"x.0": 0}, r"input 'x' has shape \[0, 3, 8, 8\]"),
        (PICTURE | {"x.1": 2}, r"does not run with inputs x \[1, 2, 8, 8\]: .*channels"),
    ],
)
def test_shapes_that_are_missing_or_wrong(scripted: Path, bindings: dict[str, int], message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        load_model(scripted, bindings=bindings)
    assert "\n" not in str(caught.value)


class Scaled(nn.Module):
    def forward(self, x: Tensor, factor: int) -> Tensor:
        return x * factor


def test_an_input_that_is_no_tensor(tmp_path: Path) -> None:
    path = save(torch.jit.script(Scaled()), tmp_path / "scaled.pt")
    with pytest.raises(GraphError, match="input 'factor' is int; only tensors can be inputs"):
        load_model(path, bindings={"x.1": 3})


# --- archives that could do more than compute


class Writer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "written-by-a-model")
        return x


class Mapper(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("/etc/hostname", size=1)


@pytest.mark.parametrize("module", [Writer(), Mapper()], ids=["writes a file", "maps a file"])
def test_code_that_reaches_files_is_refused_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: nn.Module
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(torch.jit.script(module), tmp_path / "evil.pt")
    with pytest.raises(ModelFileError, match=r"names '(save|from_file)' in code/.*could do more than compute"):
        load_model(path, bindings={"x.1": 3})
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pt"]


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  torch.save(x, 'f')", "names 'save'"),
        ("  x . save('f')", "names 'save'"),
        ("  getattr(x, 'save')('f')", "names 'save'"),
        ("  ops.symm_mem.fused(x)", "uses operators of the library 'symm_mem'"),
        ("  y = __torch__.torch.classes.dist_c10d.Store('h')", "uses classes of the library 'dist_c10d'"),
    ],
)
def test_code_with_other_spellings_is_refused(traced: Path, tmp_path: Path, line: str, message: str) -> None:
    def insert(name: str, data: bytes) -> bytes:
        return data.replace(b"Tensor:\n", f"Tensor:\n{line}\n".encode(), 1) if name.endswith(".py") else data

    path = rewritten(traced, tmp_path / "evil.pt", insert)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize("part", ["data.pkl", "constants.pkl"])
def test_a_damaged_member(traced: Path, tmp_path: Path, part: str) -> None:
    path = rewritten(traced, tmp_path / "bad.pt", lambda name, data: b"\x80" if name.endswith(part) else data)
    with pytest.raises(ModelFileError, match="is not a TorchScript module"):
        load_model(path)


def test_a_truncated_file(traced: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.pt"
    path.write_bytes(traced.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged archive"):
        load_model(path)


def test_a_state_dict_is_still_a_pickle(net: Net, tmp_path: Path) -> None:
    path, stream = tmp_path / "weights.pt", io.BytesIO()
    torch.save(net.state_dict(), stream)
    path.write_bytes(stream.getvalue())
    with pytest.raises(ModelFileError, match=r"holds weights without a graph.*torch\.export\.save"):
        load_model(path)

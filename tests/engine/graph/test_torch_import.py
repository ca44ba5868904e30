"""PyTorch modules and .pt2 files, and archives that would run code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import ModelFileError
from engine.graph.float_run import run_float
from engine.graph.load import load_model
from engine.graph.pt2_check import check_exported
from engine.graph.torch_import import from_torch
from tests.engine.graph.onnx_models import type_names


class Block(nn.Module):
    """A residual block with a norm, an activation and a roll."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, L, 6]."""
        return x + torch.roll(nn.functional.gelu(self.fc(self.norm(x))), -2, 1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, L, 6]."""
        for block in self.blocks:
            x = block(x)
        return x


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def exported(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(torch.export.export(net, (torch.zeros(2, 5, 6),), dynamic_shapes=shapes), path)
    return path


def test_a_module(net: Net) -> None:
    x = torch.randn(2, 5, 6)
    graph = from_torch(net, (x,), "net")
    assert type_names(graph) == ["LayerNormalization", "MatMul", "Gelu", "Roll", "Add"] * 2
    assert graph.nodes[1].id == "/blocks.0/norm/LayerNormalization"
    assert graph.nodes[-1].namespace == ("blocks.1",)
    (result,) = run_float(graph, {graph.inputs[0]: x}).values()
    torch.testing.assert_close(result, net(x).detach())


def test_a_module_keeps_its_mode_and_the_digest_tells_weights_apart() -> None:
    linear, dropout = nn.Linear(3, 3), nn.Dropout()
    module = nn.Sequential(linear, dropout).train()
    linear.eval()
    before = from_torch(module, (torch.zeros(1, 3),))
    assert (module.training, linear.training, dropout.training) == (True, False, True)
    assert before.digest == from_torch(module, (torch.zeros(1, 3),)).digest
    nn.init.zeros_(linear.bias)
    assert before.digest != from_torch(module, (torch.zeros(1, 3),)).digest


def test_an_exported_program(net: Net, exported: Path) -> None:
    graph = load_model(exported, batch=3)
    assert graph.source == exported
    assert len(graph.digest) == 64
    x = torch.randn(3, 5, 6)
    (result,) = run_float(graph, {graph.inputs[0]: x}).values()
    torch.testing.assert_close(result, net(x).detach())


def test_a_module_that_cannot_be_exported() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelFileError, match="torch cannot export bad") as caught:
        from_torch(Bad(), (torch.zeros(2),), "bad")
    assert "\n" not in str(caught.value)


Change = Callable[[dict[str, bytes]], None]


def _rewritten(path: Path, change: Change) -> bytes:
    """The archive with its files, by their path inside the top folder, changed."""
    with zipfile.ZipFile(path) as archive:
        files = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    change(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"net/{name}", content)
    return buffer.getvalue()


def _edit_json(name: str, edit: Callable[[Any], None]) -> Change:
    def change(files: dict[str, bytes]) -> None:
        content = json.loads(files[name])
        edit(content)
        files[name] = json.dumps(content).encode()

    return change


def _pickle_a_weight(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def _opaque_constant(config: Any) -> None:
    config["config"]["evil"] = {"path_name": "opaque_obj_0", "use_pickle": True}


def _evil_target(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def _evil_guard(program: Any) -> None:
    program["guards_code"] = ["__import__('os').system('true')"]


def _evil_expression(program: Any) -> None:
    program["graph_module"]["evil"] = {"expr_str": "Symbol.__class__"}


def _evil_container(program: Any) -> None:
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(
        [1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]
    )


def _pickled_samples(files: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    torch.save(Path("x"), buffer)
    files["data/sample_inputs/model.pt"] = buffer.getvalue()


def _compiled(files: dict[str, bytes]) -> None:
    files["data/aotinductor/model/model.so"] = b"\x7fELF"


def _legacy(files: dict[str, bytes]) -> None:
    files["data/weights/model.pt"] = b"\x80\x02."


MODEL = "models/model.json"
REFUSED: dict[str, Change] = {
    "pickled weight": _edit_json("data/weights/model_weights_config.json", _pickle_a_weight),
    "opaque constant": _edit_json("data/constants/model_constants_config.json", _opaque_constant),
    "function of torch": _edit_json(MODEL, _evil_target),
    "guard code": _edit_json(MODEL, _evil_guard),
    "expression": _edit_json(MODEL, _evil_expression),
    "container": _edit_json(MODEL, _evil_container),
    "pickled samples": _pickled_samples,
    "compiled code": _compiled,
    "legacy weights": _legacy,
}


@pytest.mark.parametrize("name", REFUSED)
def test_archives_that_would_run_code_are_refused(exported: Path, name: str) -> None:
    content = _rewritten(exported, REFUSED[name])
    with pytest.raises(ModelFileError, match="could run code, so it is refused") as caught:
        check_exported(exported, content)
    assert "\n" not in str(caught.value)


def test_an_unchanged_archive_is_accepted(exported: Path) -> None:
    check_exported(exported, _rewritten(exported, lambda files: None))


def test_harmless_guards_are_accepted(exported: Path) -> None:
    def guard(program: Any) -> None:
        program["guards_code"] = ["L['x'].size()[0] <= 64"]

    check_exported(exported, _rewritten(exported, _edit_json(MODEL, guard)))


def test_damaged_program(exported: Path) -> None:
    def damage(files: dict[str, bytes]) -> None:
        files[MODEL] = b"{"

    with pytest.raises(ModelFileError, match=r"damaged \.pt2 archive"):
        check_exported(exported, _rewritten(exported, damage))

"""Every stage of a model against other programs: that they agree, and that a defect is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.errors import CalibrationError, Cancelled
from engine.export.integer_onnx.registry import INTEGER_NODES
from engine.graph.graph import Constant
from engine.program.types import Convolution
from engine.reports import Agreement, Comparison, Stage, Verification
from engine.session import Session
from engine.verify.tosa_reference import VARIABLE, user_folder
from engine.verify.verify import CHECKS
from tests.engine.export.demos import opened
from tests.engine.verify.parties import needs_tosa

OpenMobile = Callable[[], Session]
GOOD = (Agreement.SAME, Agreement.WITHIN)


def only(found: Verification, what: str) -> Comparison:
    (comparison,) = [item for item in found.comparisons if item.what == what]
    return comparison


@needs_tosa
@pytest.mark.timeout(300)  # nine processes one after the other, on a machine that may be busy
def test_all_programs_agree_on_a_mixed_plan() -> None:
    session = opened("mobile_fmnist", (("blocks.1", "float"), ("blocks.2", "int16")))
    told: list[tuple[int, int]] = []
    found = session.verify(1, progress=lambda _, done, total: told.append((done, total)))
    total = len(CHECKS) - 1  # torch has nothing to say about an ONNX file
    assert told == [(done, total) for done in range(total + 1)]
    assert [item.stage for item in found.comparisons] == [c.stage for c in CHECKS if c.party != "torch"]
    assert (found.samples, found.first_stage, found.first_node) == (1, "", "")
    for item in found.comparisons:
        follows_float = item.what == "other batch"
        assert item.agreement in ((Agreement.UNAVAILABLE,) if follows_float else GOOD), item
        if item.stage in (Stage.INTEGER, Stage.EXPORTED, Stage.PACKAGE):
            assert item.agreement is not Agreement.WITHIN, item
    assert only(found, "source model").values > 50
    tosa, exported = only(found, "tosa"), only(found, "integer-onnx")
    assert 0 < tosa.values < exported.values


def test_int16_tables_are_some_steps_off_and_batches_are_not() -> None:
    """The target refuses some of Swin's int16 transposes for two samples at once: that must not change integers."""
    found = opened("swin_fmnist", (("*", "int16"),)).verify(1, [Stage.CALIBRATED, Stage.INTEGER])
    operators = only(found, "qdq, each operator")
    assert operators.agreement is Agreement.WITHIN
    assert 1 < operators.worst <= 16
    assert "16 for 19 values by int16 tables" in operators.text
    assert only(found, "other batch").agreement is Agreement.SAME


def test_samples_beyond_what_a_process_takes_are_compared_too(open_mobile: OpenMobile) -> None:
    one, six = (only(open_mobile().verify(n, [Stage.EXPORTED]), "integer-onnx") for n in (1, 6))
    assert (six.values, six.elements) == (one.values, 6 * one.elements)
    assert six.agreement is Agreement.SAME


def test_operators_are_at_most_a_step_off_in_int8(open_mobile: OpenMobile) -> None:
    found = open_mobile().verify(2, [Stage.CALIBRATED])
    for level in ("", ", optimised"):
        operators = only(found, f"qdq, each operator{level}")
        assert operators.worst <= 1
        assert operators.values == 57
    whole = only(found, "qdq, whole model")
    assert whole.agreement is Agreement.WITHIN
    assert "at least 25.0 dB tolerated; a first step at /" in whole.text
    assert [item.node for item in found.mismatches if item.what == whole.what] == [whole.node]


def test_a_wrong_weight_is_found_in_float_at_its_node(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    node = [node for node in session.graph.nodes if node.op.type_name == "Conv"][3]
    name = node.inputs[1]
    changed = np.array(session.graph.constants[name].array)
    changed[0] *= 1.5
    constants = {**session.graph.constants, name: Constant.of(changed)}
    session.source_graph = replace(session.graph, constants=constants)
    found = session.verify(1, [Stage.FLOAT])
    assert (found.first_stage, found.first_node) == ("float", node.id)
    assert found.mismatches[0].node == node.id
    assert only(found, "source model").agreement is Agreement.DIFFERS


def one_off(write: Callable[..., None]) -> Callable[..., None]:
    """A writer whose convolutions have a bias that is one off."""

    def wrong(op: Convolution, emission: Any) -> None:
        write(replace(op, bias=op.bias + (2**9 if op.groups > 1 else 0)), emission)

    return wrong


def test_a_wrong_export_is_found_at_its_node(open_mobile: OpenMobile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything up to the first convolution with groups is the same."""
    session = open_mobile()
    monkeypatch.setitem(INTEGER_NODES, Convolution, one_off(INTEGER_NODES[Convolution]))
    found = session.verify(1, [Stage.INTEGER, Stage.EXPORTED])
    grouped = next(i for i in session.program().instructions if isinstance(i.op, Convolution) and i.op.groups > 1)
    assert found.first_stage == "exported"
    assert found.first_node == session.graph.producer[grouped.outputs[0]].id
    assert {item.what for item in found.mismatches} == {"integer-onnx", "integer-onnx, optimised"}


def test_an_absent_program_says_how_to_install_it(
    open_mobile: OpenMobile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    tosa = only(open_mobile().verify(1, [Stage.EXPORTED]), "tosa")
    assert tosa.agreement is Agreement.UNAVAILABLE
    assert f"pip install --no-deps --target {tmp_path} tosa-tools==" in tosa.text
    assert tosa.party == "TOSA reference model"
    assert user_folder().parts[-2:] == ("quantscope", "tosa")


@pytest.mark.parametrize(
    ("code", "says"), [("import os; os.abort()", "SIGABRT"), ("raise OSError('no such library')", "no such library")]
)
def test_a_program_that_crashes_is_reported(
    open_mobile: OpenMobile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    (tmp_path / "tosa_reference_model").mkdir()
    (tmp_path / "tosa_reference_model" / "__init__.py").write_text(code)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = open_mobile().verify(1, [Stage.EXPORTED])
    tosa = only(found, "tosa")
    assert tosa.agreement is Agreement.FAILED
    assert says in tosa.text
    assert only(found, "integer-onnx").agreement is Agreement.SAME
    assert found.first_stage == ""


def test_the_user_stops_it(open_mobile: OpenMobile) -> None:
    asked = iter(range(1000))
    with pytest.raises(Cancelled):
        open_mobile().verify(1, cancelled=lambda: next(asked) > 5)


def test_it_needs_a_calibration(models: Path) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        Session.open(models / "mobile_fmnist.onnx").verify()


def calibrated(session: Session, folder: Path, **arrays: np.ndarray) -> Session:
    np.savez(folder / "x.npz", **arrays)  # type: ignore[arg-type]
    session.calibrate(folder / "x.npz")
    return session


def test_functions_and_external_weights_are_found(tmp_path: Path) -> None:
    """Values inside a local function are compared under the names that inlining gives them."""
    float32 = TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, float32, ["n", 64]) for name in ("x", "y"))
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32), "w")
    body = [helper.make_node("MatMul", ["a", "b"], ["p"]), helper.make_node("Relu", ["p"], ["q"])]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Layer", ["a", "b"], ["q"], body, opsets[:1])
    nodes = [
        helper.make_node("Layer", ["x", "w"], ["h"], domain="mine"),
        helper.make_node("Layer", ["h", "w"], ["y"], domain="mine"),
    ]
    graph = helper.make_graph(nodes, "m", [x], [y], [weight])
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    data = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    session = calibrated(Session.open(tmp_path / "m.onnx"), tmp_path, x=data)
    found = only(session.verify(2, [Stage.FLOAT]), "source model")
    assert found.agreement in GOOD
    assert found.values == 4, found


class Small(torch.nn.Module):
    """Two inputs, in one of the files the second one by name and a constant besides; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, twice: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.layer(x) * (2 if twice else 1)
        return torch.relu(hidden) + bias, hidden


INPUTS = {"x": torch.linspace(-1, 1, 8).reshape(1, 8), "bias": torch.ones(1, 4)}


NAMED = {"bias": INPUTS["bias"], "twice": True}


def saved_program(path: Path) -> Path:
    path = path / "m.pt2"
    torch.export.save(torch.export.export(Small().eval(), (INPUTS["x"],), NAMED), path)
    return path


def saved_script(path: Path) -> Path:
    path = path / "m.pt"
    torch.jit.save(torch.jit.trace(Small().eval(), tuple(INPUTS.values()), strict=False), path)
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("save", [saved_program, saved_script])
def test_torch_runs_its_own_files(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    session = Session.open(save(tmp_path))
    samples = dict(zip(session.graph.inputs, (array.numpy() for array in INPUTS.values()), strict=True))
    (found,) = calibrated(session, tmp_path, **samples).verify(1, [Stage.FLOAT]).comparisons
    assert (found.party.split()[0], found.values) == ("torch", 2)
    assert found.agreement in GOOD, found


def test_a_session_without_a_file_says_so(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    session.source_graph = replace(session.graph, source=None)
    (absent,) = session.verify(1, [Stage.FLOAT]).comparisons
    assert (absent.agreement, absent.text) == (Agreement.UNAVAILABLE, "the model came from no file")

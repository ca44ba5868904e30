"""The export's files, with Vela where it is installed and with programs that go wrong in its place."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from engine.errors import ExportError
from engine.export.ethos_u.records import NodeRow, Summary
from engine.export.ethos_u.vela import find_vela
from engine.export.tosa.write import tosa_steps
from engine.reports import ExportSummary
from engine.session import Session
from tests.engine.export.demos import Marks, opened
from tests.engine.export.ethos_u.installed import is_installed, needs_vela
from tests.engine.export.ethos_u.test_vela import COMPILES, CRASHES, stand_in

U55, U85 = "ethos-u55-256", "ethos-u85-256"


def exported(session: Session, folder: Path, **options: str) -> tuple[Summary, ExportSummary]:
    path = folder / "m.ethos-u.json"
    told = session.export(path, "ethos-u", options)
    return msgspec.json.decode(path.read_bytes(), type=Summary), told


def rows_by_node(summary: Summary) -> dict[str, NodeRow]:
    return {row.id: row for row in summary.nodes}


@needs_vela
@pytest.mark.parametrize("accelerator", [U55, U85])
def test_all_of_a_convolutional_network_is_on_the_npu(tmp_path: Path, accelerator: str) -> None:
    session = opened("mobile_fmnist")
    summary, told = exported(session, tmp_path, accelerator=accelerator)
    assert summary.accelerator == accelerator and summary.vela.startswith("5.")
    assert summary.totals.npu_operators == summary.totals.operators == len(summary.operators) > 100
    assert {row.where for row in summary.nodes} == {"npu"} and not any(row.reason for row in summary.nodes)
    (segment,) = summary.segments
    folder = tmp_path / "m.ethos-u"
    assert {file.name for file in folder.iterdir()} == {segment.file, *segment.compiled}
    assert (folder / "segment_vela.tflite").read_bytes()[4:8] == b"TFL3"
    (tosa,) = [step.tosa for step in tosa_steps(session) if step.tosa is not None]
    assert (folder / "segment.tosa").read_bytes() == tosa.data
    assert told.notes[1] == f"all {summary.totals.operators} operators of its network run on the NPU"


@needs_vela
@pytest.mark.parametrize(("accelerator", "marks"), [(U55, ()), (U85, ()), (U85, (("*", "int16"),))])
def test_all_of_a_transformer_is_on_the_npu(tmp_path: Path, accelerator: str, marks: Marks) -> None:
    summary, _ = exported(opened("swin_fmnist", marks), tmp_path, accelerator=accelerator)
    assert {row.where for row in summary.nodes} == {"npu"} and len(summary.segments) == 1
    assert {row.op_type for row in summary.nodes} >= {"LayerNormalization", "Softmax", "MatMul", "Gelu"}


@needs_vela
def test_cycles_and_products_are_those_of_our_nodes(tmp_path: Path) -> None:
    session = opened("mobile_fmnist")
    summary, _ = exported(session, tmp_path, accelerator=U55)
    assert sum(row.cycles for row in summary.nodes) == summary.totals.cycles == summary.segments[0].cycles
    ours = {item.id: item for item in session.estimate().nodes}
    assert [row.id for row in summary.nodes if row.macs != ours[row.id].macs] == []
    assert sum(row.macs > 0 for row in summary.nodes) > 20
    assert all(row.operators > 0 for row in summary.nodes)
    assert all(row.estimate_us == ours[row.id].latency_us for row in summary.nodes)
    assert summary.totals.vela_us == pytest.approx(sum(row.vela_us for row in summary.nodes))


@needs_vela
def test_float_nodes_lie_between_networks(tmp_path: Path) -> None:
    marks: Marks = (("blocks.1", "float"), ("blocks.2", "int16"))
    summary, told = exported(opened("mobile_fmnist", marks), tmp_path)
    assert [row.file for row in summary.segments] == ["segment.tosa", "segment.2.tosa"]
    assert {row.where for row in summary.nodes} == {"npu", "cpu"}
    kinds = [step["kind"] for step in summary.steps]
    assert kinds.count("integer") == 2 and kinds.count("float") == 1
    assert any("float nodes are not compiled" in note for note in told.notes)


@needs_vela
def test_arrays_instead_of_a_tflite_file(tmp_path: Path) -> None:
    exported(opened("mobile_fmnist"), tmp_path, output="raw")
    with np.load(tmp_path / "m.ethos-u" / "segment_vela.npz") as arrays:
        assert arrays["cmd_data"].nbytes > 1000


@needs_vela
def test_wrong_options_are_velas_own_words(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not take these options: .*Memory_Mode\.Mine not found"):
        exported(opened("mobile_fmnist"), tmp_path, **{"memory-mode": "Mine"})
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ refusals


@pytest.fixture
def shuffled(tmp_path: Path) -> Session:
    """Two convolutions with a permutation of the channels between, which a U55 has no operator for."""
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(rng.standard_normal((8, 8, 1, 1)).astype(np.float32), name) for name in ("v", "w")
    ]
    order = numpy_helper.from_array(rng.permutation(8), "order")
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], "first"),
        helper.make_node("Gather", ["a", "order"], ["b"], "shuffle", axis=1),
        helper.make_node("Conv", ["b", "w"], ["y"], "second"),
    ]
    return calibrated(nodes, [*weights, order], tmp_path / "model")


def calibrated(nodes: list[NodeProto], constants: list[TensorProto], folder: Path) -> Session:
    """A model from x to y, both [1, 8, 6, 6]."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8, 6, 6)) for name in "xy"]
    graph = helper.make_graph(nodes, "model", ports[:1], ports[1:], constants)
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / "m.onnx")
    samples = np.random.default_rng(2).standard_normal((4, 8, 6, 6)).astype(np.float32)
    np.savez(folder / "x.npz", x=samples)
    session = Session.open(folder / "m.onnx", target="generic-int8")
    session.calibrate(folder / "x.npz", samples=4)
    return session


@needs_vela
def test_a_node_that_the_chip_has_not_is_named_with_velas_reason(shuffled: Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match=rf"^node 'shuffle': Vela refuses it for {U55}: .*Gather.* mark it float"):
        exported(shuffled, out, accelerator=U55)
    assert not list(out.iterdir())


@needs_vela
def test_a_u55_multiplies_int8_matrices_only(tmp_path: Path) -> None:
    session = calibrated([helper.make_node("MatMul", ["x", "x"], ["y"], "square")], [], tmp_path / "model")
    session.mark("*", "int16")
    with pytest.raises(ExportError, match=r"^node 'square': Vela refuses it for ethos-u55-256: .*MatMul"):
        exported(session, tmp_path, accelerator=U55)
    summary, _ = exported(session, tmp_path, accelerator=U85)
    assert rows_by_node(summary)["square"].macs == 8 * 6 * 6 * 6


@needs_vela
def test_it_can_be_left_to_the_host_in_the_same_integers(shuffled: Session, tmp_path: Path) -> None:
    summary, told = exported(shuffled, tmp_path, accelerator=U55, refused="host")
    assert {row.id: row.where for row in summary.nodes} == {"first": "npu", "shuffle": "host", "second": "npu"}
    assert "Gather" in rows_by_node(summary)["shuffle"].reason
    assert [(row.file, row.where) for row in summary.segments] == [
        ("segment.tosa", "npu"),
        ("segment.2.tosa", "host"),
        ("segment.3.tosa", "npu"),
    ]
    assert [step["kind"] for step in summary.steps] == ["quantise", "integer", "host", "integer", "dequantise"]
    assert any("1 unit is left to the host" in note for note in told.notes)
    assert (tmp_path / "m.ethos-u" / "segment.2.tosa").is_file()


REAL = find_vela().root if is_installed() else Path()


@pytest.fixture
def in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on the path, for a program in Vela's place."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "stand_in"), *sys.path])
    return tmp_path / "stand_in"


def test_a_crash_names_the_nodes_and_writes_nothing(in_its_place: Path, shuffled: Session, tmp_path: Path) -> None:
    stand_in(in_its_place, segment=CRASHES)
    out = tmp_path / "out"
    out.mkdir()
    message = rf"^node 'first': Vela refuses it for {U85}: it crashed \(SIGSEGV\) \(and 2 more: shuffle, second\); mark"
    with pytest.raises(ExportError, match=message):
        exported(shuffled, out)
    assert not list(out.iterdir())


@needs_vela
def test_a_network_that_vela_crashes_on_is_compiled_in_halves(
    in_its_place: Path, shuffled: Session, tmp_path: Path
) -> None:
    """The stand-in crashes on the whole network and hands the others on to Vela."""
    whole = max(len(step.tosa.data) for step in tosa_steps(shuffled) if step.tosa is not None)
    stand_in(in_its_place, segment=f"if Path(argv[0]).stat().st_size == {whole}: {CRASHES}")
    module = in_its_place / "ethosu" / "vela" / "vela.py"
    real = f"import subprocess, sys, os\n    env = {{**os.environ, 'PYTHONPATH': {str(REAL)!r}}}\n"
    module.write_text(
        f"{module.read_text()}    {real}    command = [sys.executable, '-m', 'ethosu.vela', *argv]\n"
        "    return subprocess.run(command, env=env, check=False, capture_output=True).returncode\n"
    )
    summary, told = exported(shuffled, tmp_path)
    assert [segment.where for segment in summary.segments] == ["npu", "npu"]
    assert {row.where for row in summary.nodes} == {"npu"}
    assert "once, Vela did not take a network whole (it crashed (SIGSEGV)), but its halves" in told.notes


def test_one_unit_that_vela_takes_and_takes_not_is_named(in_its_place: Path, shuffled: Session, tmp_path: Path) -> None:
    """Alone each network compiles the first time, and never again."""
    once = "seen = Path(argv[0]).resolve().parents[1] / 'seen'"
    stand_in(
        in_its_place,
        segment=f"{once}; n = len(seen.read_text()) if seen.exists() else 0; "
        f"seen.write_text('x' * (n + 1)); return 0 if 1 <= n <= 3 else 9",
    )
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match=r"^node '.+': Vela does not always compile it for .*: exit status 9; mark"):
        exported(shuffled, out)
    assert not list(out.iterdir())


def test_a_chip_that_takes_nothing_leaves_no_file(in_its_place: Path, shuffled: Session, tmp_path: Path) -> None:
    stand_in(in_its_place, segment="raise RuntimeError('no')")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match="Vela refuses every node: no; choose another accelerator"):
        exported(shuffled, out, refused="host")
    assert not list(out.iterdir())


def test_a_report_of_another_form_leaves_no_file(in_its_place: Path, shuffled: Session, tmp_path: Path) -> None:
    stand_in(in_its_place, segment=COMPILES)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match="report has another form"):
        exported(shuffled, out)
    assert not list(out.iterdir())


def test_a_float_model_has_nothing_to_compile(in_its_place: Path, tmp_path: Path) -> None:
    stand_in(in_its_place, segment=COMPILES)
    with pytest.raises(ExportError, match="no node is computed in integers; mark some int8 or int16"):
        exported(opened("mobile_fmnist", (("*", "float"),)), tmp_path)

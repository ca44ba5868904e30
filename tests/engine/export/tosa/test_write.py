"""The files of the export: whole models on the TOSA reference model, and what stands beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ExportError
from engine.export.tosa.emit import TO_TOSA
from engine.export.tosa.write import tosa_steps
from engine.program.types import Dequantise, FloatKernel, MatrixProduct, Quantise
from engine.session import Session
from engine.verify.tosa import compare_tosa
from engine.verify.tosa_reference import reference_outputs
from tests.engine.export.demos import Marks, opened
from tests.engine.verify.parties import needs_tosa

FLOAT_MIDDLE: Marks = (("blocks.1", "float"), ("blocks.2", "int16"))


@needs_tosa
@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("swin_fmnist", ()),
        ("swin_fmnist", (("*", "int16"),)),
        ("swin_fmnist", (("blocks.1", "float"),)),
        ("mobile_fmnist", ()),
        ("mobile_fmnist", (("*", "int16"),)),
        ("mobile_fmnist", FLOAT_MIDDLE),
    ],
)
def test_every_value_has_the_bits_of_the_executor(name: str, marks: Marks) -> None:
    session = opened(name, marks)
    tally = compare_tosa(session, [next(session.samples(1)).inputs]).tally
    assert not tally.differing, tally.first()
    outside = Quantise | Dequantise | FloatKernel
    made = [n for item in session.program().instructions if not isinstance(item.op, outside) for n in item.outputs]
    assert list(tally.values) == made


@needs_tosa
def test_files_and_json_alone_compute_the_session(tmp_path: Path) -> None:
    """Someone who has only what was written gets the outputs of a model without float nodes."""
    session = opened("mobile_fmnist")
    path = tmp_path / "m.tosa"
    session.export(path, "tosa")
    assert {file.name for file in tmp_path.iterdir()} == {"m.tosa", "m.json"}
    manifest = json.loads((tmp_path / "m.json").read_text())
    sample = next(session.samples(1)).inputs
    values: dict[str, np.ndarray] = {manifest["inputs"][name]: array for name, array in sample.items()}
    (tosa,) = [step.tosa for step in tosa_steps(session) if step.tosa is not None]
    assert path.read_bytes() == tosa.data
    for step in manifest["steps"]:
        if step["kind"] == "integer":
            assert list(tosa.inputs) == [port["name"] for port in step["inputs"]]
            values.update(reference_outputs([(tosa, values)])[0])
        else:
            values[step["to"]] = seam(step, values[step["from"]])
    wanted = session.run(sample)
    for name, value in manifest["outputs"].items():
        np.testing.assert_array_equal(values[value], wanted[name])


def seam(step: dict[str, Any], x: np.ndarray) -> np.ndarray:
    if step["kind"] == "dequantise":
        return x.astype(np.float32) * np.float32(step["scale"])
    largest = np.iinfo(step["dtype"]).max
    return np.clip(np.rint(x / np.float32(step["scale"])), -largest, largest).astype(step["dtype"])


def test_a_file_for_each_segment(tmp_path: Path) -> None:
    session = opened("mobile_fmnist", FLOAT_MIDDLE)
    summary = session.export(tmp_path / "m.tosa", "tosa")
    files = {file.name for file in tmp_path.iterdir()}
    assert files == {"m.tosa", "m.2.tosa", "m.json"}
    assert any("m.2.tosa, m.json" in note for note in summary.notes)
    steps = json.loads((tmp_path / "m.json").read_text())["steps"]
    assert [step["file"] for step in steps if step["kind"] == "integer"] == ["m.tosa", "m.2.tosa"]
    (middle,) = [step for step in steps if step["kind"] == "float"]
    assert middle["nodes"] and f"{len(middle['nodes'])} float nodes" in " ".join(summary.notes)
    known = set(json.loads((tmp_path / "m.json").read_text())["inputs"].values())
    for step in steps:  # whatever a step reads, one before it made
        read, made = ends(step)
        assert read <= known
        known |= made


def ends(step: dict[str, Any]) -> tuple[set[str], set[str]]:
    if step["kind"] in ("quantise", "dequantise"):
        return {step["from"]}, {step["to"]}
    if step["kind"] == "float":
        return set(step["inputs"]), set(step["outputs"])
    return {port["name"] for port in step["inputs"]}, {port["name"] for port in step["outputs"]}


def test_tensors_and_operators_are_called_as_the_model_calls_them() -> None:
    session = opened("mobile_fmnist")
    (tosa,) = [step.tosa for step in tosa_steps(session) if step.tosa is not None]
    assert tosa.data[4:8] == b"TOSA"
    for value in (*tosa.inputs, *tosa.outputs):
        assert value.encode() in tosa.data
    for item in session.program().instructions[1:-1]:
        assert ", ".join(item.nodes).encode() in tosa.data


def test_an_operator_without_a_form_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TO_TOSA, MatrixProduct)
    with pytest.raises(ExportError, match=r"node '.+': MatrixProduct has no TOSA form; mark the node float"):
        opened("swin_fmnist").export(tmp_path / "m.tosa", "tosa")
    assert not list(tmp_path.iterdir())


def test_a_float_model_has_nothing_to_write(tmp_path: Path) -> None:
    session: Session = opened("mobile_fmnist", (("*", "float"),))
    with pytest.raises(ExportError, match="no node is computed in integers; mark some int8 or int16"):
        session.export(tmp_path / "m.tosa", "tosa")
    assert not list(tmp_path.iterdir())


def test_missing_extra_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("flatbuffers", "engine.export.tosa"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ExportError, match=r"needs the package 'flatbuffers'; pip install \"quantscope\[tosa\]\""):
        opened("mobile_fmnist").export(tmp_path / "m.tosa", "tosa")
    assert not list(tmp_path.iterdir())

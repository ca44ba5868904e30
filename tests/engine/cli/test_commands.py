"""What the commands print and write, through the real entry point."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli import commands
from engine.cli.main import app, main
from engine.errors import CalibrationError, Cancelled
from engine.export.integer_onnx.registry import INTEGER_NODES
from engine.export.onnx_nodes import Emission
from engine.program.types import Convolution
from engine.session import Session
from engine.simulate.timing import Bound
from tests.engine.export.ethos_u.installed import needs_vela

Cli = Callable[..., Any]

ANALYZED_NODE = {
    "id", "name", "op_type", "requested", "effective", "reason", "sqnr_accumulated_db", "sqnr_introduced_db", "cosine",
    "mse", "latency_us", "bound", "dma_bytes", "macs",
}  # fmt: skip
TIMED = {"latency_ms", "throughput_fps", "ddr_bytes", "samples", "nodes"}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs a command with ``--json`` and returns what it wrote; nothing may go to standard error."""

    def run(*arguments: object) -> Any:
        record = tmp_path / "record.json"
        monkeypatch.setattr(sys, "argv", ["quantscope", *map(str, arguments), "--json", str(record)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert caught.value.code == 0, captured
        assert captured.err == ""
        assert captured.out.strip()
        return json.loads(record.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


def sums_to_the_total(record: dict[str, Any]) -> bool:
    total = sum(node["latency_us"] for node in record["nodes"])
    return total == pytest.approx(record["latency_ms"] * 1000.0, rel=1e-9)


def test_new_writes_a_project_that_opens(cli: Cli, models: Path, samples: Path, recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    record = cli(
        "new", models / "mobile_fmnist.onnx", "--target", "generic-int8", "--calibration", samples, "--recipe", recipe,
        "--samples", 2, "--method", "max", "-o", path,
    )  # fmt: skip
    assert (record["samples"], record["target"], record["project"]) == (2, "generic-int8", str(path))
    session = Session.open(path)
    assert session.target.name == "generic-int8"
    assert session.plan.default_method == "max"
    assert session.calibration is not None


def test_analyze(cli: Cli, project: Path) -> None:
    record = cli("analyze", project, "--samples", 2)
    assert {*TIMED, "output_sqnr_db"} <= set(record)
    assert record["samples"] == 2
    assert record["output_sqnr_db"] > 10.0
    assert sums_to_the_total(record)
    session = Session.open(project)
    assert [node["id"] for node in record["nodes"]] == [node.id for node in session.graph.nodes]
    for node in record["nodes"]:
        assert set(node) >= ANALYZED_NODE
        assert node["effective"] in ("int8", "int16", "lut", "float")
        assert node["bound"] in {bound.value for bound in Bound}
    assert all(node["sqnr_accumulated_db"] is not None for node in record["nodes"] if node["op_type"] == "Conv")


def test_estimate_needs_no_calibration(cli: Cli, models: Path) -> None:
    record = cli("estimate", models / "mobile_fmnist.onnx", "--target", "bayes-e-x5")
    assert set(record) >= TIMED
    assert record["target"] == "bayes-e-x5"
    assert record["throughput_fps"] > 0.0
    assert sums_to_the_total(record)


def test_mark_and_check(cli: Cli, project: Path) -> None:
    record = cli("mark", project, "--node", "[Cc]onv", "--precision", "int16")
    assert record["nodes"]
    assert all(node["requested"] == "int16" for node in record["nodes"])
    checked = cli("check", project)
    assert {"target", "cpu_nodes", "refusals", "nodes"} <= set(checked)
    marked = {node["id"] for node in checked["nodes"] if node["requested"] == "int16"}
    assert marked == {node["id"] for node in record["nodes"]}
    cli("mark", project, "--node", ".*", "--precision", "auto")
    assert not Session.open(project).plan.choices


def test_check_says_why(cli: Cli, project: Path) -> None:
    session = Session.open(project)
    layer = next(node.id for node in session.graph.nodes if node.op.type_name == "Conv")
    cli("mark", project, "--node", layer, "--precision", "lut")
    (refusal,) = cli("check", project)["refusals"]
    assert refusal["id"] == layer
    assert "not an elementwise function" in refusal["reason"]


def test_check_says_which_accumulators_are_proved(
    cli: Cli, project: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cli("check", project)["accumulators"]
    assert found and all(item["proof"] for item in found)
    title = f"{len(found)} of {len(found)} accumulators proved not to overflow"
    app(["check", str(project)], standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-1] == title
    app(["check", str(project), "--accumulators"], standalone_mode=False)
    listed = capsys.readouterr().out.partition(f"{title}\n")[2].splitlines()[1:]
    assert [line.split()[0] for line in listed] == [item["id"] for item in found]
    assert cli("check", models / "mobile_fmnist.onnx")["accumulators"] == []
    with pytest.raises(CalibrationError, match="make one with `quantscope new`"):
        app(["check", str(models / "mobile_fmnist.onnx"), "--accumulators"], standalone_mode=False)


def test_evaluate(cli: Cli, project: Path, samples: Path) -> None:
    record = cli("evaluate", project, "--data", samples, "--samples", 40)
    assert set(record) >= {"float_top1", "quantised_top1", "agreement", "output_sqnr_db", "samples"}
    assert record["samples"] == 40
    assert 0.7 < record["quantised_top1"] <= 1.0
    assert 0.8 < record["agreement"] <= 1.0


def test_verify_says_that_all_agree(cli: Cli, project: Path) -> None:
    record = cli("verify", project, "--samples", 1, "--stage", "calibrated", "--stage", "integer")
    assert record["first_stage"] == ""
    found = {item["what"]: item["agreement"] for item in record["comparisons"]}
    assert found["other threads"] == found["other batch"] == "same"
    assert found["qdq, each operator"] == "within"


def test_verify_fails_where_a_stage_differs(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The export has other biases than the program."""
    write = INTEGER_NODES[Convolution]

    def write_wrong(op: Convolution, emission: Emission) -> None:
        write(replace(op, bias=op.bias + 2**9), emission)

    monkeypatch.setitem(INTEGER_NODES, Convolution, write_wrong)
    arguments = ["verify", str(project), "--samples", "1", "--stage", "exported"]
    monkeypatch.setattr(sys, "argv", ["quantscope", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert "the first stage that differs is exported, at /stem/" in said.out
    assert "values differ by more than is tolerated" in said.out
    assert said.err == ""


def test_a_package_runs_with_the_same_bits(cli: Cli, project: Path, samples: Path, tmp_path: Path) -> None:
    package = tmp_path / "p.zip"
    exported = cli("export", project, "--format", "package", "-o", package)
    assert exported["size_bytes"] == package.stat().st_size
    session = Session.open(project)
    sample = next(session.samples(1))
    np.savez(tmp_path / "x.npz", image=sample.inputs["image"])
    cli("run", package, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz")
    expected = session.run(sample.inputs)
    with np.load(tmp_path / "y.npz") as found:
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


@needs_vela
def test_an_export_takes_options(cli: Cli, project: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.ethos-u.json"
    options = ("--option", "accelerator=ethos-u55-128", "--option", "optimise=Size")
    exported = cli("export", project, "--format", "ethos-u", *options, "-o", path)
    assert exported["size_bytes"] == path.stat().st_size
    assert "ethos-u55-128" in exported["notes"][0]


def test_targets(cli: Cli) -> None:
    names = [target["name"] for target in cli("targets", "list")]
    assert {"journey5", "bayes-e-x5", "generic-int8"} <= set(names)
    shown = cli("targets", "show", "journey5")
    assert all(figure["source"] for figure in shown["figures"].values())


def test_progress_is_not_on_standard_output(project: Path, tmp_path: Path) -> None:
    """Piped output holds results alone, and a pipe for errors holds no bars."""
    command = [sys.executable, "-m", "engine.cli.main", "analyze", str(project), "--samples", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stderr == ""
    assert "measuring" not in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[0].startswith("mobile_fmnist on journey5")


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["targets", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['quantscope', *{arguments}]\n"
        "from engine.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnx_ir', 'numba', 'PySide6', 'engine.session'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("ends", "said"), [(KeyboardInterrupt(), "quantscope: interrupted"), (Cancelled(), "quantscope: cancelled")]
)
def test_an_interrupted_command_says_so_in_one_line(
    ends: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise ends

    monkeypatch.setattr(commands, "list_targets", interrupted)
    monkeypatch.setattr(sys, "argv", ["quantscope", "targets", "list"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.splitlines() == [said]

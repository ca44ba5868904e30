"""What ``compile`` and ``timeline`` print and write, through the real entry point."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import main
from engine.session import Session

Cli = Callable[..., tuple[Any, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs a command; returns what it wrote as JSON, and what it printed (for a failure: the one line that says so)."""

    def run(*arguments: object) -> tuple[Any, str]:
        record = tmp_path / "record.json"
        monkeypatch.setattr(sys, "argv", ["quantscope", *map(str, arguments), "--json", str(record)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        if caught.value.code:
            assert len(captured.err.splitlines()) == 1
            return None, captured.err
        assert captured.err == ""
        return json.loads(record.read_text()), captured.out

    return run


def test_compile_says_what_the_session_says(cli: Cli, project: Path) -> None:
    record, text = cli("compile", project)
    found = Session.open(project).compilation()
    assert (record["latency_ms"], record["throughput_fps"]) == (found.latency_ms, found.throughput_fps)
    assert record["ddr_bytes"] == found.ddr_bytes
    assert (record["layout_bytes"]["before"], record["layout_bytes"]["after"]) == found.layout_bytes
    assert record["memory"]["overhead"] == record["memory"]["peak_bytes"] / record["memory"]["lower_bound_bytes"] >= 1
    assert record["utilisation"] == found.utilisation
    assert [item["name"] for item in record["passes"]] == [item.name for item in found.passes]
    for item in found.passes:
        assert item.name in text and item.text in text
    assert f"stated error of {found.target}: {found.stated_error}" in text
    assert f"{found.memory.peak_bytes / found.memory.lower_bound_bytes:.3f} of its bound" in text


def test_shares_of_the_frame_sum_to_one_and_name_layout_and_vector(cli: Cli, models: Path) -> None:
    record, text = cli("compile", models / "swin_fmnist.onnx", "--level", "O1")
    for name in ("time_by_engine", "time_by_operator"):
        assert sum(record[name].values()) == pytest.approx(1.0, abs=1e-12)
    assert {"vector", "layout", "host"} <= set(record["time_by_engine"])
    assert {"norm", "matmul", "io"} <= set(record["time_by_operator"])
    assert f"vector {record['time_by_engine']['vector']:.1%}" in text


def test_the_slowest_kernels_come_first(cli: Cli, project: Path) -> None:
    record, text = cli("compile", project)
    ranked = sorted(record["kernels"], key=lambda kernel: -kernel["latency_us"])
    table = text.partition("the slowest ")[2].partition("stated error")[0].splitlines()[2:]
    named = [row.split()[0] for row in table if not row.startswith(" ")]
    assert named == [kernel["anchor"] for kernel in ranked[:10]]
    busy = sum(kernel["latency_us"] for kernel in record["kernels"])
    assert busy == pytest.approx(1e3 * record["latency_ms"] * (1 - record["time_by_engine"]["host"]))


def test_options_replace_those_of_the_project_and_leave_it_alone(cli: Cli, project: Path) -> None:
    before = project.read_bytes()
    plain, text = cli("compile", project, "--level", "O0", "--cores", 1, "--goal", "balanced", "--weight", 0.25)
    assert plain["options"] == {"goal": "balanced", "weight": 0.25, "level": "O0", "cores": 1}
    assert "goal balanced (DDR traffic 0.25), level O0, 1 core(s)" in text
    fused, _ = cli("compile", project, "--level", "O2", "--cores", 1)
    assert fused["latency_ms"] < plain["latency_ms"]
    assert fused["ddr_bytes"] < plain["ddr_bytes"]
    both, _ = cli("compile", project, "--level", "O2")
    assert both["throughput_fps"] == pytest.approx(2 * fused["throughput_fps"])
    assert project.read_bytes() == before


def test_a_batch_is_one_frame(cli: Cli, models: Path) -> None:
    model = models / "swin_fmnist.onnx"
    one, _ = cli("compile", model)
    four, text = cli("compile", model, "--batch", 4)
    assert (one["batch"], four["batch"]) == (1, 4)
    assert one["latency_ms"] < four["latency_ms"] < 4 * one["latency_ms"]
    assert f"{4 * four['throughput_fps']:.1f} samples/s" in text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--level", "O9"), "there is no level 'O9'; choose one of O0, O1, O2, O3"),
        (("--goal", "speed"), "there is no goal 'speed'; choose one of latency, bandwidth, balanced"),
        (("--weight", 0.5), "--weight is for the goal balanced"),
        (("--goal", "balanced", "--weight", 2), "the weight of DDR traffic is 2, expected 0 to 1"),
        (("--cores", 3), "the plan asks for 3 cores, journey5 has 2"),
        (("--target", "journey"), "unknown target 'journey'"),
    ],
)
def test_what_cannot_be_asked_for(cli: Cli, project: Path, options: tuple[object, ...], complaint: str) -> None:
    for command in (("compile", project), ("timeline", project, "-o", project.with_suffix(".json"))):
        record, text = cli(*command, *options)
        assert record is None and complaint in text
    assert not project.with_suffix(".json").exists()


def test_a_fixed_batch_is_no_silent_one(cli: Cli, tmp_path: Path) -> None:
    path = model_of("Relu", tmp_path, 4)
    record, text = cli("compile", path, "--batch", 2)
    assert record is None and f"{path}: its batch is fixed" in text
    assert cli("compile", path, "--batch", 1)[0]["batch"] == 1


def model_of(op: str, folder: Path, size: int) -> Path:
    """x [1, size] -> op -> y."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="only")], "g", values[:1], values[1:])
    path = folder / "fixed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_timeline_writes_a_trace(cli: Cli, project: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    record, text = cli("timeline", project, "-o", path, "--frames", 2, "--level", "O1")
    events = json.loads(path.read_text())["traceEvents"]
    assert (record["frames"], record["events"], record["path"]) == (2, len(events), str(path))
    assert record["jobs"] == sum(event["ph"] == "X" and event["name"] != "inference" for event in events)
    assert "https://ui.perfetto.dev" in text


def test_a_region_over_nodes_that_vanished_is_named(cli: Cli, project: Path) -> None:
    project.write_text(project.read_text() + '\n[[regions]]\nname = "mine"\nnodes = ["ghost", "/stem/conv/Conv"]\n')
    record, text = cli("compile", project)
    assert "warning: region mine has no effect: the model has no 'ghost'" in text
    assert [(region["legal"], region["reason"]) for region in record["regions"]] == [
        (False, "the model has no 'ghost'")
    ]
    assert "region mine, 2 nodes: has no effect: the model has no 'ghost'" in cli("check", project)[1]
    plain, _ = cli("compile", project, "--level", "O1")
    assert all(kernel["region"] == "" for kernel in plain["kernels"])


def test_an_operator_without_room_for_a_tile_is_named(cli: Cli, tmp_path: Path) -> None:
    from importlib import resources

    text = (resources.files("resources") / "targets" / "generic-int8.toml").read_text(encoding="utf-8")
    target = tmp_path / "tiny.toml"
    target.write_text(text.replace("value = 1048576", "value = 6000"), encoding="utf-8")
    model = model_of("Softmax", tmp_path, 1000)
    reason = "its smallest tile takes 4,000 B; generic-int8 keeps 1,500 B on the chip for tiles"
    checked, _ = cli("check", model, "--target", target)
    assert checked["cpu_nodes"] == ["only"]
    assert [item["reason"] for item in checked["refusals"]] == [reason]
    compiled, printed = cli("compile", model, "--target", target)
    assert compiled["cpu_nodes"] == ["only"]
    assert f"warning: 1 nodes run on the CPU, see `quantscope check`; the first is 'only': {reason}" in printed

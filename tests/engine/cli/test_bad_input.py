"""Every bad input ends in one clear line on standard error and exit status 1, and costs nothing that was there."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from engine.cli import commands
from engine.cli.main import main

Run = Callable[..., str]
MODEL = "m.onnx"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line, which must end with status 1 and one line on standard error; returns that line."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["quantscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert caught.value.code == 1, captured
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("quantscope: ")
        assert "Traceback" not in captured.out
        return lines[0]

    return run


def model(
    path: Path,
    *,
    op: str = "Relu",
    domain: str = "",
    shape: tuple[int | str, ...] = (1, 3, 8, 8),
    weight: np.ndarray | None = None,
) -> onnx.ModelProto:
    """x -> Conv -> op -> y, written to ``path``."""
    if weight is None:
        weight = np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node(op, ["c"], ["y"], name="last", domain=domain),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    proto = helper.make_model(graph, opset_imports=opsets)
    proto.ir_version = 9
    path.write_bytes(proto.SerializeToString())
    return proto


def data(path: Path, shape: tuple[int, ...] = (4, 3, 8, 8), fill: float | None = None) -> Path:
    array = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    if fill is not None:
        array.reshape(-1)[5] = fill
    np.savez(path, x=array)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small model ``m.onnx`` and its samples ``d.npz``."""
    model(tmp_path / MODEL)
    data(tmp_path / "d.npz")
    return tmp_path


def new(fails: Run, folder: Path, *options: object, model: str = MODEL, calibration: str = "d.npz") -> str:
    project = folder / "p.qscope"
    line = fails("new", folder / model, "--calibration", folder / calibration, "-o", project, *options)
    assert not project.exists()
    return line


# Models


def not_onnx(path: Path) -> None:
    path.write_text("hello, this is a text that is not a model\n" * 20)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    model(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def external(location: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        proto = model(path)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        path.write_bytes(proto.SerializeToString())

    return write


def cyclic(path: Path) -> None:
    proto = model(path)
    proto.graph.node[0].input[0] = "y"
    path.write_bytes(proto.SerializeToString())


def dangling(path: Path) -> None:
    proto = model(path)
    proto.graph.node[1].input[0] = "nowhere"
    path.write_bytes(proto.SerializeToString())


def as_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def torch_saved(path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(3)}, path)


BAD_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (not_onnx, "is not an ONNX file"),
    "empty": (empty, "is empty"),
    "truncated": (truncated, "truncated"),
    "external data missing": (external("weights.bin"), "external data file 'weights.bin' of tensor 'w' is missing"),
    "external data above": (external("../secret.bin"), "points outside the model's folder"),
    "external data elsewhere": (external("/etc/passwd"), "points outside the model's folder"),
    "cycle": (cyclic, "cycle"),
    "dangling": (dangling, "input 'nowhere' is made by no node"),
    "unbound symbol": (lambda path: model(path, shape=("N", 3, "height", 8)), "height"),
    "pickle": (as_pickle, "pickle"),
    "torch.save": (torch_saved, "pickle"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
    "missing": (lambda path: None, "cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models(name: str, tmp_path: Path, fails: Run) -> None:
    write, expected = BAD_MODELS[name]
    path = tmp_path / "bad.onnx"
    write(path)
    for arguments in (("estimate", path), ("check", path)):
        line = fails(*arguments)
        assert expected in line
        assert str(path) in line


@pytest.mark.parametrize(
    ("op", "domain", "expected"),
    [("Frobnicate", "", "Frobnicate"), ("Relu", "com.acme", "com.acme")],
    ids=["operator", "domain"],
)
def test_unknown_operators(
    op: str, domain: str, expected: str, folder: Path, fails: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """They open, so that the graph can be seen and timed; checking, and whatever would run them, fails."""
    path = folder / MODEL
    model(path, op=op, domain=domain)
    for line in (fails("check", path), new(fails, folder)):
        assert expected in line and str(path) in line
    commands.estimate(path, None, [], None)
    warning = capsys.readouterr().out.splitlines()[-1]
    assert "is a guess: it cannot run" in warning and expected in warning


def test_weights_that_are_not_finite(folder: Path, fails: Run) -> None:
    weight = np.ones((4, 3, 3, 3))
    weight[1, 1, 1, 1] = float("nan")
    model(folder / MODEL, weight=weight)
    line = new(fails, folder)
    assert "node 'conv'" in line
    assert "1 values of 108 that are NaN" in line


# Samples and recipes

BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "NaN": (lambda path: data(path, fill=float("nan")), "holds nan"),
    "infinity": (lambda path: data(path, fill=float("inf")), "holds inf"),
    "size": (lambda path: data(path, (4, 3, 9, 8)), "9"),
    "channels": (lambda path: data(path, (4, 1, 8, 8)), "[3, 8, 8]"),
    "name": (lambda path: np.savez(path, z=np.zeros((4, 3, 8, 8), np.float32)), "'x'"),
    "none": (lambda path: data(path, (0, 3, 8, 8)), "no samples"),
    "not an npz": (not_onnx, "npz"),
    "pickled": (lambda path: np.savez(path, x=np.array([{}], dtype=object)), "x"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_arrays(name: str, folder: Path, fails: Run) -> None:
    write, expected = BAD_DATA[name]
    (folder / "d.npz").unlink()
    write(folder / "d.npz")
    line = new(fails, folder)
    assert expected in line
    assert "d.npz" in line


RECIPE = """\
[input]
size = {size}
crop = "none"
channels = "{channels}"
layout = "NCHW"
mean = {mean}
scale = {mean}
"""
BAD_RECIPES = {
    "size": (RECIPE.format(size=16, channels="RGB", mean=[1, 1, 1]), "16"),
    "channels": (RECIPE.format(size=8, channels="L", mean=[1]), "channel"),
    "syntax": ("[input\nsize = 8", "is not valid TOML"),
    "value": (RECIPE.format(size='"big"', channels="RGB", mean=[1, 1, 1]), "input.size"),
    "unknown key": (RECIPE.format(size=8, channels="RGB", mean=[1, 1, 1]) + "blur = 1\n", "blur"),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_bad_recipes(name: str, folder: Path, fails: Run) -> None:
    text, expected = BAD_RECIPES[name]
    (folder / "pictures").mkdir()
    Image.new("RGB", (20, 20)).save(folder / "pictures" / "a.png")
    (folder / "r.toml").write_text(text)
    assert expected in new(fails, folder, "--recipe", folder / "r.toml", calibration="pictures")


def test_folders_without_usable_pictures(folder: Path, fails: Run) -> None:
    (folder / "pictures").mkdir()
    (folder / "r.toml").write_text(RECIPE.format(size=8, channels="RGB", mean=[1, 1, 1]))
    options = ("--recipe", folder / "r.toml")
    assert "pictures" in new(fails, folder, *options, calibration="pictures")
    (folder / "pictures" / "a.png").write_bytes(b"not a picture")
    assert "a.png" in new(fails, folder, *options, calibration="pictures")
    assert "recipe" in new(fails, folder, calibration="pictures")
    missing = new(fails, folder, "--recipe", folder / "none.toml", calibration="pictures")
    assert "none.toml: cannot be read" in missing


# Options

BAD_OPTIONS = {
    "unknown target": (("--target", "journey9"), "unknown target 'journey9'"),
    "missing target": (("--target", "nowhere.toml"), "nowhere.toml"),
    "method": (("--method", "magic"), "unknown calibration method 'magic'"),
    "no samples": (("--samples", "0"), "0 samples asked for"),
    "split": (("--split", "evaluation"), "no split"),
    "binding": (("--bind", "height"), "'height' is not a size"),
    "zero binding": (("--bind", "height=0"), "'height=0' is not a size"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name: str, folder: Path, fails: Run) -> None:
    options, expected = BAD_OPTIONS[name]
    assert expected in new(fails, folder, *options)


def test_malformed_targets(folder: Path, fails: Run) -> None:
    target = folder / "t.toml"
    target.write_text("[identity\n")
    assert "is not TOML" in new(fails, folder, "--target", target)
    target.write_text("[identity]\nname = 'x'\n")
    assert "t.toml" in new(fails, folder, "--target", target)
    assert "t.toml" in fails("targets", "show", target)


def test_missing_output_folders(folder: Path, project: Path, samples: Path, fails: Run) -> None:
    nowhere = folder / "no" / "such"
    arguments = ("new", folder / MODEL, "--calibration", folder / "d.npz", "-o", nowhere / "p.qscope")
    assert "p.qscope: cannot be written: its folder is not there" in fails(*arguments)
    assert "r.json: cannot be written" in fails("estimate", folder / MODEL, "--json", nowhere / "r.json")
    assert "cannot be written: Is a directory" in fails("estimate", folder / MODEL, "--json", folder)
    assert "r.json: cannot be written" in fails("targets", "list", "--json", nowhere / "r.json")
    for format in ("package", "qdq"):
        assert "cannot be written" in fails("export", project, "--format", format, "-o", nowhere / "x")
    assert "pickle" in fails("export", project, "--format", "pickle", "-o", folder / "x")


def test_a_project_needs_its_suffix(folder: Path, fails: Run) -> None:
    output = folder / "p.json"
    line = fails("new", folder / MODEL, "--calibration", folder / "d.npz", "-o", output)
    assert "a project's name ends in .qscope" in line
    assert "is not a project" in fails("analyze", folder / MODEL)


# Projects


def test_missing_and_malformed_projects(tmp_path: Path, fails: Run) -> None:
    path = tmp_path / "p.qscope"
    for command in (("analyze", path), ("check", path), ("mark", path, "--node", "x", "--precision", "int8")):
        assert "p.qscope: cannot be read: No such file" in fails(*command)
    for text, expected in (("a =", "is not valid TOML"), ("a = 1", "no 'format' number"), ("format = 99", "format 99")):
        path.write_text(text)
        assert expected in fails("analyze", path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in fails("analyze", path)


def test_projects_whose_model_moved_or_changed(project: Path, models: Path, tmp_path: Path, fails: Run) -> None:
    text = project.read_text()
    content = (models / "mobile_fmnist.onnx").read_bytes()
    (project.parent / "own.onnx").write_bytes(content)
    reference = next(line for line in text.splitlines() if line.startswith("path = "))
    project.write_text(text.replace(reference, 'path = "own.onnx"', 1))
    changed = content.replace(b"pytorch", b"PyTorch") if b"pytorch" in content else content + b"\x72\x01x"
    (project.parent / "own.onnx").write_bytes(changed)
    assert "was changed" in fails("analyze", project)
    (project.parent / "own.onnx").unlink()
    assert "own.onnx is not there; move it back" in fails("analyze", project)


def test_projects_that_mark_unknown_nodes(project: Path, fails: Run) -> None:
    before = project.read_text() + '\n[choices]\nghost = "int16"\n'
    project.write_text(before)
    assert "marks nodes that the model does not have: ghost" in fails("analyze", project)
    assert project.read_text() == before


def test_projects_keep_their_bindings(project: Path, fails: Run) -> None:
    assert "keeps the sizes that its model was bound to" in fails("check", project, "--bind", "N=2")


def test_projects_whose_data_moved(project: Path, fails: Run, tmp_path: Path) -> None:
    project.write_text(project.read_text().replace("fmnist_samples.npz", "moved.npz"))
    assert "moved.npz" in fails("analyze", project)


@pytest.mark.parametrize(
    ("node", "precision", "expected"),
    [
        ("nothing-like-this", "int8", "no node matches 'nothing-like-this'"),
        ("(", "int8", "'(' is not a pattern"),
        (".*", "int4", "unknown precision 'int4'; choose one of auto, int8"),
    ],
)
def test_bad_marks_leave_the_project(project: Path, fails: Run, node: str, precision: str, expected: str) -> None:
    before = project.read_bytes()
    assert expected in fails("mark", project, "--node", node, "--precision", precision)
    assert project.read_bytes() == before


def test_bad_evaluations(project: Path, samples: Path, tmp_path: Path, fails: Run) -> None:
    def evaluate(*options: object, file: Path = samples) -> str:
        return fails("evaluate", project, "--data", file, *options)

    assert "0 samples asked for" in evaluate("--samples", "0")
    assert "-3 samples asked for" in evaluate("--samples", "-3")
    assert "has no split 'nope'" in evaluate("--split", "nope")
    assert "none.npz" in evaluate(file=tmp_path / "none.npz")
    assert "none.toml" in evaluate("--recipe", tmp_path / "none.toml")
    pixels = np.zeros((3, 1, 28, 28), np.float32)
    np.savez(tmp_path / "wrong.npz", image=pixels, labels=np.array([0, 1, 10]))
    assert "is 10, the model has classes 0..9" in evaluate(file=tmp_path / "wrong.npz")


def test_bad_runs(project: Path, tmp_path: Path, fails: Run) -> None:
    package, inputs = tmp_path / "none.zip", tmp_path / "x.npz"
    assert "none.zip" in fails("run", package, "--inputs", inputs, "--outputs", tmp_path / "y.npz")
    package.write_bytes(b"PK\x03\x04 damaged")
    assert "none.zip" in fails("run", package, "--inputs", inputs, "--outputs", tmp_path / "y.npz")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("accelerator", "'accelerator' is no option; write NAME=VALUE"),
        ("chip=x", "the ethos-u export has no option 'chip'; choose from accelerator"),
        ("accelerator=x", "cannot be 'x'; choose one of auto, ethos-u55-32"),
    ],
)
def test_bad_export_options(project: Path, tmp_path: Path, fails: Run, option: str, expected: str) -> None:
    path = tmp_path / "m.ethos-u.json"
    assert expected in fails("export", project, "--format", "ethos-u", "--option", option, "-o", path)
    assert not path.exists()


def test_bad_screenshots(project: Path, tmp_path: Path, fails: Run) -> None:
    output = tmp_path / "f.png"
    assert "unknown overlay 'nice'" in fails("screenshot", project, "-o", output, "--overlay", "nice")
    assert "'big' is not a size" in fails("screenshot", project, "-o", output, "--size", "big")
    assert not output.exists()


# The disk


def test_a_full_disk_leaves_the_old_project(project: Path, fails: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = fails("mark", project, "--node", ".*", "--precision", "int16")
    assert "copy.qscope: cannot be written: No space left on device" in line
    assert project.read_bytes() == before
    assert not list(project.parent.glob(".*.tmp"))


def test_a_read_only_project_is_left_alone(project: Path, fails: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.read_bytes()

    def refused(path: object, mode: int, **_: object) -> bool:
        return mode != os.W_OK

    monkeypatch.setattr(os, "access", refused)  # permissions do not bind the administrator
    assert "read-only" in fails("mark", project, "--node", ".*", "--precision", "int16")
    assert project.read_bytes() == before


# The real process


def test_errors_and_usage_in_the_real_process(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "engine.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    failed = run("check", str(tmp_path / "none.onnx"))
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("quantscope: ")
    for arguments in (("analyze", "p.qscope", "--samples", "0"), ("check", "m.onnx", "--what")):
        usage = run(*arguments)
        assert usage.returncode == 2, arguments
        assert "Traceback" not in usage.stderr
        assert "Usage" in usage.stderr

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engine.clock.event import simulate
from engine.compile.types import Schedule
from engine.errors import PackageError
from engine.export.run import load_package, run_file
from engine.session import Session
from tests.engine.export.demos import MODELS, Marks, expected_outputs, opened, same_bits, stacked

LITE0 = MODELS.parents[1] / ".cache" / "models" / "efficientnet_lite0.onnx"
PLANS: dict[str, tuple[str, Marks]] = {
    "mobile_int8": ("mobile_fmnist", ()),
    "mobile_int16": ("mobile_fmnist", (("blocks.2", "int16"),)),
    "mobile_float_middle": ("mobile_fmnist", (("blocks.2", "float"), ("blocks.3", "int16"))),
    "swin_int8": ("swin_fmnist", ()),
    "swin_float_middle": ("swin_fmnist", (("layers.0/blocks.1", "float"), ("norm2", "float"))),
    "swin_float": ("swin_fmnist", ((".*", "float"),)),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of mobile_fmnist with a float segment in the middle."""
    path = tmp_path_factory.mktemp("package") / "mobile.qspkg"
    opened("mobile_fmnist", (("blocks.2", "float"),)).export(path)
    return path


@pytest.mark.parametrize("plan", PLANS)
def test_outputs_have_the_session_s_bits(plan: str, tmp_path: Path) -> None:
    session = opened(*PLANS[plan])
    session.export(tmp_path / "m.qspkg")
    loaded = load_package(tmp_path / "m.qspkg")
    assert same_bits(loaded.run(stacked(session, 6)), expected_outputs(session, 6))


def test_command_line_computes_the_same_bits_elsewhere(package: Path, tmp_path: Path) -> None:
    """In another process, of a copy in a folder of its own, on 32 samples at once."""
    session = opened("mobile_fmnist", (("blocks.2", "float"),))
    copy = tmp_path / "copy.qspkg"
    copy.write_bytes(package.read_bytes())
    np.savez(tmp_path / "x.npz", allow_pickle=False, **stacked(session, 32))
    files = [str(copy), "--inputs", str(tmp_path / "x.npz"), "--outputs", str(tmp_path / "y.npz")]
    command = [sys.executable, "-m", "engine.cli.main", "run", *files]
    root = MODELS.parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "y.npz") as found:
        assert same_bits(dict(found), expected_outputs(session, 32))


@pytest.mark.skipif(not LITE0.exists(), reason="EfficientNet-Lite0 is not in the benchmarks' cache")
def test_lite0_has_the_session_s_bits(tmp_path: Path) -> None:
    pictures = np.random.default_rng(3).normal(0, 0.5, (2, 3, 224, 224)).astype(np.float32)
    np.savez(tmp_path / "x.npz", allow_pickle=False, image=pictures)
    session = Session.open(LITE0)
    session.calibrate(tmp_path / "x.npz")
    session.export(tmp_path / "m.qspkg")
    picture = {"image": pictures[:1]}
    assert same_bits(load_package(tmp_path / "m.qspkg").run(picture), dict(session.run(picture)))


def test_members_describe_the_program(package: Path) -> None:
    session = opened("mobile_fmnist", (("blocks.2", "float"),))
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        manifest, schedule, quantisation = (
            json.loads(archive.read(f"{name}.json")) for name in ("manifest", "schedule", "quantisation")
        )
        segments = [entry["file"] for entry in manifest["segments"]]
        cpu = onnx.load_from_string(archive.read(segments[1]))
    assert names == sorted(names)
    assert segments == ["segments/0.json", "segments/1.onnx", "segments/2.json"]
    assert manifest["model"]["digest"] == session.graph.digest
    assert manifest["target"] == session.target.name
    assert manifest["inputs"][0]["integer_dtype"] == "int8"
    assert manifest["members"].keys() == set(names) - {"manifest.json"}
    onnx.checker.check_model(cpu)
    program = session.program()
    listed = [tuple(nodes) for name in segments for nodes in manifest["provenance"]["instructions"][name]]
    assert listed == [item.nodes for item in program.instructions]
    assert manifest["provenance"]["nodes"] == {node.id: list(node.provenance) for node in session.graph.nodes}
    assert quantisation["logits"] == {"dtype": "int8", "scale": program.types["logits"].scale}
    latency_us = sum(kernel["latency_us"] for kernel in schedule["kernels"]) + schedule["host_us"]
    assert latency_us == pytest.approx(schedule["latency_ms"] * 1e3)
    units = {item.unit for item in program.instructions}
    for kernel in schedule["kernels"]:
        assert set(kernel["units"]) <= units
        assert {program.instructions[place].unit for place in kernel["instructions"]} == set(kernel["units"])
    jobs, simulated = schedule["jobs"], session.simulation()
    columns = Schedule(
        engine=np.array(jobs["engine"], np.int8),
        kernel=np.array(jobs["kernel"], np.int32),
        tile=np.array(jobs["tile"], np.int32),
        ticks=np.array(jobs["ticks"], np.int64),
        size_bytes=np.array(jobs["size_bytes"], np.int64),
        dep_ends=np.array(jobs["dependency_ends"], np.int32),
        deps=np.array(jobs["dependencies"], np.int32),
    )
    assert simulate(columns).total_ticks == simulated.trace.total_ticks


def test_integers_may_be_fed_already_quantised(package: Path) -> None:
    loaded = load_package(package)
    port = loaded.inputs[0]
    picture = stacked(opened("mobile_fmnist"), 4)
    real = picture[port.name]
    integers = np.clip(np.rint(real / np.float32(port.scale)), -127, 127).astype(port.integer_dtype)
    assert same_bits(loaded.run({port.name: integers}), loaded.run(picture))
    assert same_bits(loaded.run({port.name: real.astype(np.float64)}), loaded.run(picture))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array for input 'image'; its inputs are image"),
        ({"image": np.zeros((1, 1, 28, 28), np.float32), "x": np.zeros(1)}, "has no input 'x'"),
        ({"image": np.zeros((1, 3, 28, 28), np.float32)}, r"has shape \[1, 3, 28, 28\], the package takes \["),
        ({"image": np.zeros((28, 28), np.float32)}, "has shape"),
        ({"image": np.zeros((0, 1, 28, 28), np.float32)}, "has shape"),
        ({"image": np.zeros((1, 1, 28, 28), np.uint8)}, "is uint8, the package takes float32 or int8"),
        ({"image": np.full((1, 1, 28, 28), -128, np.int8)}, "holds -128 to -128, outside -127 to 127"),
    ],
)
def test_wrong_inputs_are_one_line(package: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(PackageError, match=message) as caught:
        load_package(package).run(arrays)
    assert "\n" not in str(caught.value)
    assert "mobile.qspkg" in str(caught.value)


def test_fixed_batch_takes_one_batch_only(package: Path) -> None:
    fixed = replace(load_package(package), symbolic_batch=False)
    with pytest.raises(PackageError, match=r"the package takes \[1, 1, 28, 28\]"):
        fixed.run({"image": np.zeros((2, 1, 28, 28), np.float32)})


def rewritten(package: Path, path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy whose members were changed."""
    with zipfile.ZipFile(package) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _drop(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        del members[name]

    return change


def _edit_manifest(**entries: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | entries).encode()

    return change


def _swap_arrays(members: dict[str, bytes]) -> None:
    first, second = sorted(name for name in members if name.startswith("arrays/"))[:2]
    members[first] = members[second]


def _edit_segment(members: dict[str, bytes]) -> None:
    members["segments/0.json"] = members["segments/0.json"].replace(b"127", b"126")


def _not_json(members: dict[str, bytes]) -> None:
    members["manifest.json"] = b"{"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("manifest.json"), "'manifest.json' is missing"),
        (_drop("segments/1.onnx"), "'segments/1.onnx' is missing"),
        (_drop("quantisation.json"), "'quantisation.json' is missing"),
        (_edit_manifest(version=99), "version 99, this program reads version 2"),
        (_edit_manifest(format="zip"), "is not a Quantscope package"),
        (_edit_manifest(segments=3), "'manifest.json' is malformed"),
        (_swap_arrays, "is not the one that the manifest was written for"),
        (_edit_segment, "'segments/0.json' is not the one"),
        (_not_json, "is not JSON"),
    ],
)
def test_damage_is_one_line(
    package: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    path = rewritten(package, tmp_path / "bad.qspkg", change)
    with pytest.raises(PackageError, match=message) as caught:
        load_package(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_truncated_files_are_refused(package: Path, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.qspkg"
    data = package.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(PackageError, match="is not a package or is damaged"):
        load_package(path)


def test_flipped_bits_are_noticed(package: Path, tmp_path: Path) -> None:
    data = bytearray(package.read_bytes())
    data[len(data) // 3] ^= 0x10
    path = tmp_path / "flipped.qspkg"
    path.write_bytes(data)
    with pytest.raises(PackageError):
        load_package(path)


def test_zip_bombs_are_refused_before_they_unfold(tmp_path: Path) -> None:
    path = tmp_path / "bomb.qspkg"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("manifest.json", "w") as stream:
        for _ in range(257):
            stream.write(bytes(1 << 20))
    with pytest.raises(PackageError, match="declares 269484032 bytes"):
        load_package(path)


def test_missing_file_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="No such file"):
        load_package(tmp_path / "none.qspkg")
    with pytest.raises(PackageError, match="is not a package"):
        load_package(MODELS / "mobile_fmnist.onnx")


def test_run_file_reads_and_writes_npz(package: Path, tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "x.npz", tmp_path / "y.npz"
    np.savez(inputs, image=np.zeros((3, 1, 28, 28), np.float32))
    assert run_file(package, inputs, outputs) == {"logits": [3, 10]}
    with np.load(outputs) as found:
        assert found["logits"].shape == (3, 10)


def test_a_float_slice_that_steps_over_an_axis_of_one(tmp_path: Path) -> None:
    """Its one element has a stride that is not 1."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1]) for name in "xy")
    constants = [numpy_helper.from_array(np.array([n]), f"c{i}") for i, n in enumerate((0, 2, 1, 2))]
    nodes = [helper.make_node("Slice", ["x", "c0", "c1", "c2", "c3"], ["y"], name="slice")]
    model = helper.make_model(helper.make_graph(nodes, "m", [x], [y], constants))
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((4, 1), np.float32))
    session = Session.open(tmp_path / "m.onnx")
    session.calibrate(tmp_path / "x.npz")
    session.mark("slice", "float")
    session.export(tmp_path / "m.qspkg")
    found = load_package(tmp_path / "m.qspkg").run({"x": np.full((1, 1), 0.5, np.float32)})
    assert same_bits(found, session.run({"x": np.full((1, 1), 0.5, np.float32)}))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_inputs_that_are_no_npz(package: Path, tmp_path: Path, content: bytes) -> None:
    inputs = tmp_path / "x.npz"
    inputs.write_bytes(content)
    with pytest.raises(PackageError, match=r"x\.npz: is not a readable \.npz file"):
        run_file(package, inputs, tmp_path / "y.npz")
    assert not (tmp_path / "y.npz").exists()


def test_pickles_are_never_loaded(package: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.array([{}], dtype=object))
    with pytest.raises(PackageError, match="is not a readable"):
        run_file(package, tmp_path / "x.npz", tmp_path / "y.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(PackageError, match="one array without a name"):
        run_file(package, tmp_path / "one.npy", tmp_path / "y.npz")


def test_outputs_into_a_missing_folder(package: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(PackageError, match="cannot be written"):
        run_file(package, tmp_path / "x.npz", tmp_path / "missing" / "y.npz")

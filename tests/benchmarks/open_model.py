"""How fast and in how much memory a model opens.

    python -m tests.benchmarks.open_model                                  Swin-T, and a chain of 10,000 nodes
    python -m tests.benchmarks.open_model FILE [--bind NAME=VALUE ...]     one model file
    python -m tests.benchmarks.open_model --chain 10000                    a synthetic chain of that many nodes
    python -m tests.benchmarks.open_model --large 2.75 [--files 3]         that many GiB, weights in files beside it
    python -m tests.benchmarks.open_model --large 1.9 --single             in the model file, whose limit is 2 GiB

Prints seconds after imports, the peak of resident memory above what the imports take, the file's size and the
number of nodes before and after cleaning. ``--large`` goes on: calibrated, lowered, run in integers, analysed, with the
peak after each. Its files are mostly holes: they take little of the disk.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.session import Session
from tests.benchmarks.models import model_path

_MIB = 1024 * 1024
_WIDTH = 2048
_PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_bytes() -> int:
    """The largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT_BYTES


def write_chain(path: Path, nodes: int, channels: int = 64) -> None:
    """Write a model of ``nodes`` nodes in a row: fully connected, bias, gate, and a reshape in turn."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((channels, channels)).astype(np.float32) / channels
    tensors = [
        onnx.numpy_helper.from_array(weight, "weight"),
        onnx.numpy_helper.from_array(np.zeros(channels, np.float32), "bias"),
        onnx.numpy_helper.from_array(np.array([0, channels], np.int64), "shape"),
    ]
    kinds = (("MatMul", ["weight"]), ("Add", ["bias"]), ("Sigmoid", []), ("Reshape", ["shape"]), ("Tanh", []))
    made = [
        onnx.helper.make_node(kind, [f"v{index}", *constants], [f"v{index + 1}"], name=f"/block.{index // 5}/{kind}")
        for index, (kind, constants) in ((i, kinds[i % len(kinds)]) for i in range(nodes))
    ]
    x = onnx.helper.make_tensor_value_info("v0", onnx.TensorProto.FLOAT, ["batch", channels])
    y = onnx.helper.make_tensor_value_info(f"v{nodes}", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(made, "chain", [x], [y], tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)


def measure(path: Path, bindings: dict[str, int]) -> Graph:
    """Open the file and print what it took."""
    before = peak_bytes()
    start = time.perf_counter()
    graph = load_model(path, bindings=bindings)
    seconds = time.perf_counter() - start
    peak = peak_bytes() - before
    size = path.stat().st_size
    print(
        f"{path.name}: {seconds:.3f} s, peak +{peak / _MIB:.1f} MiB for a file of {size / _MIB:.1f} MiB "
        f"({peak / size:.2f} x), {graph.notes[0]}, {len(graph.nodes)} nodes"
    )
    return graph


def write_large(path: Path, size_bytes: int, files: int) -> list[Path]:
    """Write a residual network of fully connected layers whose weights have ``size_bytes`` together.

    The weights lie in ``files`` files beside ``path``, in turn; in the model file itself for 0. One row in 64 of
    each is random, the others are holes. Returns the files.
    """
    layers = max(1, size_bytes // (_WIDTH * _WIDTH * 4))
    nodes: list[onnx.NodeProto] = []
    for index in range(layers):
        nodes.append(
            onnx.helper.make_node("MatMul", [f"v{index}", f"w{index}"], [f"p{index}"], name=f"/l.{index}/MatMul")
        )
        nodes.append(
            onnx.helper.make_node("Add", [f"v{index}", f"p{index}"], [f"v{index + 1}"], name=f"/l.{index}/Add")
        )
    x = onnx.helper.make_tensor_value_info("v0", onnx.TensorProto.FLOAT, ["batch", _WIDTH])
    y = onnx.helper.make_tensor_value_info(f"v{layers}", onnx.TensorProto.FLOAT, None)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "large", [x], [y]), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    if not files:
        _append_weights(path, model, layers)
        return [path]
    data = [path.with_name(f"{path.stem}.{index}.bin") for index in range(files)]
    streams = [file.open("wb") for file in data]
    for index in range(layers):
        stream = streams[index % files]
        entries = {"location": Path(stream.name).name, "offset": stream.tell(), "length": _WIDTH * _WIDTH * 4}
        tensor = model.graph.initializer.add(name=f"w{index}", dims=[_WIDTH, _WIDTH], data_type=onnx.TensorProto.FLOAT)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        _write_weight(stream, index)
    for stream in streams:
        stream.close()
    path.write_bytes(model.SerializeToString())
    return [path, *data]


def _write_weight(stream: BinaryIO, seed: int) -> None:
    """Write [_WIDTH, _WIDTH] float32 at the stream's place: rows of noise between holes."""
    generator = np.random.default_rng(seed)
    end = stream.tell() + _WIDTH * _WIDTH * 4
    for _ in range(0, _WIDTH, 64):
        stream.write((generator.standard_normal(_WIDTH, np.float32) / 8).tobytes())
        stream.seek(63 * _WIDTH * 4, os.SEEK_CUR)
    stream.truncate(end)


def _append_weights(path: Path, model: onnx.ModelProto, layers: int) -> None:
    """Write a model file with weights inside, none in memory: a serialised message may come in parts."""
    length = _WIDTH * _WIDTH * 4
    with path.open("wb") as stream:
        stream.write(model.SerializeToString())
        for index in range(layers):
            tensor = onnx.TensorProto(name=f"w{index}", dims=[_WIDTH, _WIDTH], data_type=onnx.TensorProto.FLOAT)
            raw = tensor.SerializeToString() + _key(9, length)
            initializer = _key(5, len(raw) + length)
            stream.write(_key(7, len(initializer) + len(raw) + length) + initializer + raw)
            _write_weight(stream, index)


def _key(field: int, length: int) -> bytes:
    """The start of a length-delimited protobuf field."""
    out = bytearray([field << 3 | 2])
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length])


def measure_large(path: Path, files: Sequence[Path]) -> None:
    """Open the model and take it through float, calibration and integers, with the peak of memory after each."""
    size = sum(file.stat().st_size for file in files)
    taken = sum(file.stat().st_blocks * 512 for file in files)
    print(f"{len(files)} files of {size / _MIB:.0f} MiB, {taken / _MIB:.0f} MiB on disk")
    base, start = peak_bytes(), time.perf_counter()

    def report(stage: str) -> None:
        peak = peak_bytes() - base
        print(f"{stage:20}{time.perf_counter() - start:8.1f} s  peak +{peak / _MIB:6.0f} MiB, {peak / size:.2f} of it")

    session = Session.open(path)
    report("open")
    session.estimate()
    report("plan and estimate")
    x = np.random.default_rng(0).standard_normal((2, _WIDTH), np.float32)
    samples = path.with_suffix(".npz")
    np.savez(samples, v0=x)
    session.calibrate(samples)
    report("calibrate, 2 samples")
    session.program()
    report("lower")
    session.run({"v0": x[:1]})
    report("run in integers")
    session.analyze(1)
    report("analyse, 1 sample")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--chain", type=int, metavar="NODES")
    parser.add_argument("--large", type=float, metavar="GIB")
    parser.add_argument("--files", type=int, default=1, help="that the weights of --large lie in")
    parser.add_argument("--single", action="store_true", help="weights of --large in the model file itself")
    parser.add_argument("--bind", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    if arguments.large is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.onnx"
            measure_large(
                path, write_large(path, int(arguments.large * 2**30), 0 if arguments.single else arguments.files)
            )
        return
    bindings = {name: int(value) for name, value in (text.split("=", 1) for text in arguments.bind)}
    everything = arguments.file is None and arguments.chain is None
    file = model_path("swin_t", "swin_t.onnx") if everything else arguments.file
    nodes = 10_000 if everything else arguments.chain
    if file is not None:
        measure(file, bindings)
    if nodes is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chain.onnx"
            write_chain(path, nodes)
            measure(path, bindings)


if __name__ == "__main__":
    main()

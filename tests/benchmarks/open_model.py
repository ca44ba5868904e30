"""How fast and in how much memory a model opens.

    python -m tests.benchmarks.open_model                                  Swin-T, and a chain of 10,000 nodes
    python -m tests.benchmarks.open_model FILE [--bind NAME=VALUE ...]     one model file
    python -m tests.benchmarks.open_model --chain 10000                    a synthetic chain of that many nodes

Prints seconds after imports, the peak of resident memory above what the imports take, the file's size and the
number of nodes before and after cleaning.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from engine.graph.graph import Graph
from engine.graph.load import load_model
from tests.benchmarks.models import model_path

_MIB = 1024 * 1024
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--chain", type=int, metavar="NODES")
    parser.add_argument("--bind", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
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

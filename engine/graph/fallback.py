"""Source nodes without a typed operator: kept whole as an ``OnnxOp``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count

import onnx
import onnx_ir as ir

from engine.graph.onnx_scopes import nodes_within, read_by, rename, tensors_within
from engine.graph.source import Apply
from engine.graph.weights import WeightFiles
from engine.ops.other import OnnxOp

_TITLE_PARTS = 3


def kept_whole(
    nodes: Sequence[ir.Node],
    opsets: Mapping[str, int],
    weights: WeightFiles,
    wanted: Callable[[str], bool] = bool,
    embedded: Mapping[str, onnx.TensorProto] | None = None,
) -> Apply:
    """The nodes, in topological order, as one operator on what they read and do not make.

    Args:
        nodes: The source nodes.
        opsets: Versions of the model's domains ("" is the standard one).
        weights: Where tensors in attributes lie.
        wanted: Which of the values that the nodes make the operator hands out.
        embedded: Constants that are no tensors of numbers, by name: they become part of the operator.
    """
    protos = [_plain(node, weights) for node in nodes]
    protos = [*_constants(protos, embedded or {}), *protos]
    made = list(dict.fromkeys(name for proto in protos for name in proto.output if name))
    read = dict.fromkeys(name for proto in protos for name in read_by(proto) if name not in set(made))
    outputs = [name for name in made if wanted(name)]
    names = {name: f"i{index}" for index, name in enumerate(read)}
    names |= {name: f"o{index}" for index, name in enumerate(outputs)}
    numbers = count()
    rename(protos, names, lambda _: f"v{next(numbers)}")
    function = onnx.FunctionProto(name="body", input=[names[name] for name in read], node=protos)
    function.output.extend(names[name] for name in outputs)
    used = _domains(protos, opsets)
    function.opset_import.extend(onnx.helper.make_opsetid(domain, used[domain]) for domain in sorted(used))
    first = nodes[0] if len(nodes) == 1 else None
    domain = standard(first.domain) if first else ("" if "" in used else min(used))
    op = OnnxOp(_title(nodes), domain, used[domain], function.SerializeToString(deterministic=True))
    return Apply(op, tuple(read), tuple(outputs))


def standard(domain: str) -> str:
    """ONNX's own domain has two spellings; this is the shorter one."""
    return "" if domain == "ai.onnx" else domain


def _plain(node: ir.Node, weights: WeightFiles) -> onnx.NodeProto:
    """The node without texts for people, all tensors inside it."""
    proto = ir.to_proto(node)
    for inner in nodes_within([proto]):
        inner.name = inner.doc_string = ""
        inner.domain = standard(inner.domain)
        del inner.metadata_props[:]
        while inner.output and not inner.output[-1]:
            inner.output.pop()
    for tensor in tensors_within(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = weights.constant(ir.from_proto(tensor)).array
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return proto


def _constants(nodes: Iterable[onnx.NodeProto], embedded: Mapping[str, onnx.TensorProto]) -> Iterable[onnx.NodeProto]:
    read = dict.fromkeys(name for node in nodes for name in read_by(node) if name in embedded)
    return [onnx.helper.make_node("Constant", [], [name], value=embedded[name]) for name in read]


def _domains(nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int]) -> dict[str, int]:
    """Versions of the domains that the nodes need; ONNX's own operators may be functions of the standard domain."""
    used = {node.domain for node in nodes_within(nodes)} | {""}
    return {domain: opsets.get(domain, onnx.defs.onnx_opset_version()) for domain in used}


def _title(nodes: Sequence[ir.Node]) -> str:
    kinds = list(dict.fromkeys(node.op_type for node in nodes))
    more = f"+{len(kinds) - _TITLE_PARTS}" if len(kinds) > _TITLE_PARTS else ""
    return "+".join(kinds[:_TITLE_PARTS]) + more

"""Names in ONNX nodes and, at any depth, in their subgraphs: what is read from outside, and renaming all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs directly in the node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those in their subgraphs."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        for graph in subgraphs(node):
            pending.extend(graph.node)


def tensors_within(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """Every tensor in the node's attributes and, at any depth, in its subgraphs."""
    for current in nodes_within([node]):
        for attribute in current.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in subgraphs(current):
            yield from graph.initializer


def read_by(node: onnx.NodeProto) -> list[str]:
    """The values that the node reads, those that its subgraphs read from outside behind its own; each once."""
    captured = sorted(name for graph in subgraphs(node) for name in captured_by(graph))
    return list(dict.fromkeys(name for name in (*node.input, *captured) if name))


def captured_by(graph: onnx.GraphProto) -> set[str]:
    """Names that the graph, or a graph inside it, reads and does not make."""
    made = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    read = {info.name for info in graph.output}
    for node in graph.node:
        made.update(node.output)
        read.update(node.input)
        for inner in subgraphs(node):
            read |= captured_by(inner)
    return read - made - {""}


def rename(nodes: Iterable[onnx.NodeProto], names: dict[str, str], fresh: Callable[[str], str]) -> None:
    """Rename all values, in place: those in ``names`` as it says, all others by ``fresh``, which is given the old name.

    ``names`` gains what the nodes make. A subgraph that hands out a value from outside gets an Identity for it, which
    not every runtime can do without.
    """
    for node in nodes:
        node.input[:] = [names[name] if name else "" for name in node.input]
        for graph in subgraphs(node):
            _rename_graph(graph, names, fresh)
        for name in node.output:
            if name and name not in names:
                names[name] = fresh(name)
        node.output[:] = [names[name] if name else "" for name in node.output]


def _rename_graph(graph: onnx.GraphProto, outer: dict[str, str], fresh: Callable[[str], str]) -> None:
    scope = dict(outer)
    made = [*graph.input, *graph.initializer]
    for item in made:
        scope[item.name] = fresh(item.name)
        item.name = scope[item.name]
    own = {name for node in graph.node for name in node.output if name}
    for name in own:  # a name from outside may be made anew inside
        scope.pop(name, None)
    rename(graph.node, scope, fresh)
    inside = {item.name for item in made} | {scope[name] for name in own}
    for info in graph.output:
        info.name = scope[info.name]
        if info.name not in inside:
            result = fresh(info.name)
            graph.node.append(onnx.helper.make_node("Identity", [info.name], [result]))
            info.name = result
    del graph.value_info[:]

"""From a parsed ONNX model to the typed graph: bind shapes, convert node by node, fold, clean."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import onnx
import onnx_ir as ir
from onnx.helper import make_tensor_type_proto, np_dtype_to_tensor_dtype

from engine.errors import GraphError, QuantscopeError
from engine.graph.binding import bound_shapes, has_symbolic_batch
from engine.graph.blocks import Blocks, Visit, find_blocks, in_order, reads_of
from engine.graph.cleaning import clean
from engine.graph.converters import CONVERTERS
from engine.graph.draft import Draft
from engine.graph.fallback import kept_whole, standard
from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.graph.inference import TypeInference
from engine.graph.lazy import applied
from engine.graph.naming import path_scopes, torch_scopes
from engine.graph.onnx_file import OnnxModel
from engine.graph.onnx_scopes import nodes_within
from engine.graph.onnx_types import is_numeric
from engine.graph.open_types import OpenTypes, type_proto
from engine.graph.source import Apply, Converted, Elements, Known, SourceNode
from engine.graph.unsupported import Problem, outside_tensors, unknown_operator, waits_for
from engine.ops.base import Op
from engine.ops.float_kernels import CARRIED_ONLY, numpy_dtype
from engine.ops.layout import Identity
from engine.ops.other import Input, OnnxOp, Unsupported

OLDEST_OPSET = 7
"""Before it, broadcasting was an attribute."""

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
_MAX_LAZY_DEPTH = 32
"""Longer chains of constants computed from constants are computed at once, lest a read recurse too deeply."""


def import_onnx(
    source: OnnxModel, bindings: Mapping[str, int], batch: int, *, open_inputs: bool = False
) -> Graph:
    """The typed, cleaned graph of a parsed model.

    What cannot run (unknown operators, models that take or give text or sequences) is in it as ``Unsupported``. With
    ``open_inputs`` symbolic sizes of inputs stay open, as sizes that depend on data.

    Raises:
        GraphError: A symbol is unbound, or shapes do not fit; names file and node.
        ModelFileError: External data is missing or lies outside the model's folder.
    """
    importer = _Importer(source, bindings, batch, open_inputs=open_inputs)
    importer.convert_nodes(source.model.graph)
    blocks = importer.blocks()
    if blocks:  # once more, now that it is known which nodes run together
        importer = _Importer(source, bindings, batch, blocks, importer, open_inputs=open_inputs)
        importer.convert_blocks()
    importer.make_outputs()
    draft = importer.draft
    draft.symbolic_batch = not open_inputs and has_symbolic_batch(importer.fed_inputs())
    notes = (*importer.notes(), *clean(draft))
    nodes = tuple(draft.nodes())
    return Graph(
        name=source.name,
        nodes=nodes,
        types=draft.types,
        constants=draft.constants,
        inputs=tuple(draft.inputs),
        outputs=tuple(draft.outputs),
        source=source.path,
        opset=source.model.opset_imports.get("", 0),
        notes=notes,
        symbolic_batch=draft.symbolic_batch,
        open_sizes=importer.open_sizes(),
    )


@dataclass(frozen=True)
class _Label:
    """How the typed nodes of one source node are named."""

    id: str
    namespace: tuple[str, ...]


_MOST_FUSED_INPUTS = 16
"""Of ONNX Runtime's own operators, of which ONNX has no schema."""


class _Importer:
    """The topological walk over one model."""

    def __init__(
        self,
        source: OnnxModel,
        bindings: Mapping[str, int],
        batch: int,
        blocks: Blocks | None = None,
        before: _Importer | None = None,
        *,
        open_inputs: bool,
    ) -> None:
        self._source = source
        self._graph = source.model.graph
        self._path: Path | None = source.path
        self._bindings = bindings
        self._batch = batch
        self._open_inputs = open_inputs
        self._infer = TypeInference()
        self._open = OpenTypes(_values_by_name(self._graph))
        self._blocks = blocks or Blocks()
        self._visits: list[Visit] = [] if before is None else before._visits
        self._branches: list[ir.Graph] = [] if before is None else before._branches
        self._embedded: dict[str, onnx.TensorProto] = {}
        self._sequences: dict[str, tuple[str, ...]] = {}
        self._lazy_depth: dict[str, int] = {}
        self._input_counts: dict[tuple[str, str], tuple[int, int] | None] = {}
        self._opsets = {standard(domain): v for domain, v in source.model.opset_imports.items()}
        self._source_count = 0
        self._folded = 0
        self.draft = Draft()
        self._names = self.draft.names
        self._check_opset()
        for graph in (self._graph, *self._branches):
            self._add_initializers(graph)
        self._make_inputs()

    def notes(self) -> tuple[str, ...]:
        """What the walk did, for people."""
        lines = [f"{self._source_count} source nodes, {self._folded} folded into constants"]
        if self._open.count:
            lines.append(f"{self._open.count} values have sizes that depend on data; the shapes shown are estimates")
        stopped = [node for node in self.draft.nodes() if isinstance(node.op, Unsupported)]
        if stopped:
            lines.append(f"{len(stopped)} nodes cannot run, first '{stopped[0].id}'")
        return tuple(lines)

    # --- the frame: initializers, inputs, outputs

    def _add_initializers(self, graph: ir.Graph) -> None:
        """Every initializer becomes a constant; its data stays where it is."""
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is not None:
                self._define_tensor(name, tensor)

    def open_sizes(self) -> dict[str, tuple[int | None, ...]]:
        """The sizes of values that depend on data, None for those that do."""
        return self._open.sizes(self.draft.types)

    def fed_inputs(self) -> list[ir.Value]:
        """The inputs that are not initializers."""
        return [value for value in self._graph.inputs if value.name not in self._graph.initializers]

    def _make_inputs(self) -> None:
        """Every input that is fed becomes an Input node ``input/NAME``."""
        inputs = self.fed_inputs()
        numeric = [value for value in inputs if _is_numeric(value) and not (self._open_inputs and _has_symbols(value))]
        shapes = dict(zip(numeric, bound_shapes(numeric, self._bindings, self._batch, self._path), strict=True))
        for value in inputs:
            name = value.name or ""
            if value in shapes and value.dtype is not None:
                self.draft.types[name] = TensorType(shapes[value], value.dtype.numpy().name)
            else:
                self.draft.types[name] = self._open.open(name, type_proto(value))
            self.draft.inputs.append(name)
            self.draft.append(Node(self._names.claim(f"input/{name}"), Input(), (), (name,)))

    def make_outputs(self) -> None:
        """Every graph output is made by a node, an Identity where it is an input or a constant."""
        for value in self._graph.outputs:
            name = value.name or ""
            if name in self.draft.constants:
                constant = self.draft.constants.pop(name)
                stored = self.draft.add_constant(self.draft.fresh_name(name), constant)
                node_id = self._names.claim(f"/{name}/Identity")
                self.draft.append(Node(node_id, Identity(), (stored,), (name,)))
            self.draft.outputs.append(name)

    # --- blocks: nodes between which something else than tensors passes

    def blocks(self) -> Blocks:
        """What the walk found to run together, or not at all."""
        opaque = {name for name in self.draft.types if self._open.is_opaque(name)} - set(self._embedded)
        inputs = {
            name: outside_tensors(name, self._open.described(name), "input")
            for name in self.draft.inputs
            if name in opaque
        }
        outputs = {
            name: outside_tensors(name, self._open.described(name), "output")
            for name in map(_value_name, self._graph.outputs)
            if name in opaque
        }
        return find_blocks(self._visits, opaque, outputs | inputs)

    def convert_blocks(self) -> None:
        """Convert what the walk before this one visited, the nodes of each block as one."""
        visits, self._visits = self._visits, []
        for nodes in in_order(visits, self._blocks):
            if self._blocks.group_of(nodes[0]) is None:
                self.convert_nodes(nodes)
            else:
                self._convert_block(nodes, visits)

    def _convert_block(self, nodes: Sequence[ir.Node], visits: Sequence[Visit]) -> None:
        self._source_count += len(nodes)
        inside = set(nodes)
        leaving = {value for visit in visits if visit.node not in inside for value in visit.reads}
        leaving |= {value.name for value in self._graph.outputs if value.name}
        with self._naming(nodes[0]):
            whole = kept_whole(nodes, self._opsets, self._source.weights, leaving.__contains__, self._embedded)
            self._apply(nodes[-1], [whole], tuple(map(_describe, nodes)))

    # --- the walk

    def convert_nodes(self, nodes: Iterable[ir.Node]) -> None:
        """Convert nodes, which must be in topological order."""
        for node in nodes:
            self._source_count += 1
            with self._naming(node):
                self._convert(node)

    @contextmanager
    def _naming(self, node: ir.Node) -> Generator[None]:
        """Errors name file and node."""
        try:
            yield
        except QuantscopeError as error:
            if error.path is not None:
                raise
            label = error.node or _describe(node)
            raise type(error)(error.message, path=self._path, node=label, hint=error.hint) from error

    def _convert(self, node: ir.Node) -> None:
        if node.op_type == "Constant" and standard(node.domain) == "":
            self._define_tensor(_value_name(node.outputs[0]), self._constant_node(node))
            return
        if node.op_type == "If" and self._inlined_branch(node):
            return
        reads = [self._resolved_name(name) for name in reads_of(node)]
        problem = self._problem(node, reads)
        if problem is not None:
            self._mark(node, problem, reads)
            self._visited(node, reads, typed=False)
            return
        converted = self._converted(node, reads)
        if converted is None:
            reason = f"{node.domain}::{node.op_type} is not taken apart in this form"
            self._mark(node, Problem(reason, "export without the fusions of ONNX Runtime"), reads)
            self._visited(node, reads, typed=False)
            return
        self._apply(node, converted)
        self._visited(node, reads, typed=not isinstance(converted, Sequence) or not _is_whole(converted))

    def _visited(self, node: ir.Node, reads: Sequence[str], *, typed: bool) -> None:
        makes = tuple(value.name for value in node.outputs if value.name and value.name not in self.draft.constants)
        if makes:
            read = tuple(value for value in reads if value not in self.draft.constants)
            opaque = {value for value in (*read, *makes) if self._open.is_opaque(value)}
            self._visits.append(Visit(node, read, makes, typed and opaque <= set(self._sequences)))

    def _converted(self, node: ir.Node, reads: Sequence[str]) -> Converted:
        """What the node becomes; None for a form of a fused operator that nobody computes."""
        source = self._source_node(node)
        converter = CONVERTERS.get((source.domain, source.op_type))
        if any(value in self._open and value not in self._sequences for value in reads):
            converter = None
        try:
            converted: Converted = None if converter is None else converter(source)
        except (TypeError, ValueError, IndexError, KeyError, MemoryError) as error:
            raise GraphError(f"{node.op_type} has malformed attributes or inputs: {error}") from error
        newest = onnx.defs.onnx_opset_version()
        if converted is None and not any(
            onnx.defs.has(source.op_type, version, source.domain) for version in (source.version, newest)
        ):
            return None
        if converted is None or not self._computable(source, converted):
            return [kept_whole([node], self._opsets, self._source.weights)]
        return converted

    @staticmethod
    def _computable(source: SourceNode, converted: Converted) -> bool:
        """Whether torch computes with these element types, where it has to compute."""
        if not isinstance(converted, Sequence) or all(isinstance(step.op, Identity) for step in converted):
            return True
        return not any(source.types[value].dtype in CARRIED_ONLY for value in source.inputs if value)

    def _source_node(self, node: ir.Node) -> SourceNode:
        domain = standard(node.domain)
        return SourceNode(
            name=_describe(node),
            op_type=node.op_type,
            domain=domain,
            version=self._opsets[domain],
            inputs=tuple(self._resolved(value) for value in node.inputs),
            outputs=tuple(_value_name(value) for value in node.outputs),
            attributes=node.attributes,
            types=self.draft.types,
            constants=self.draft.constants,
            sequences=self._sequences,
            fresh=self.draft.fresh_name,
            add_constant=self.draft.add_constant,
        )

    def _resolved(self, value: ir.Value | None) -> str:
        return "" if value is None or not value.name else self._resolved_name(value.name)

    def _resolved_name(self, name: str) -> str:
        if name not in self.draft.types:
            raise GraphError(f"input '{name}' is made by no node before it")
        return name

    def _apply(
        self, node: ir.Node, converted: Sequence[Apply] | Known | Elements, provenance: tuple[str, ...] = ()
    ) -> None:
        outputs = tuple(_value_name(value) for value in node.outputs)
        if isinstance(converted, Known):
            self._folded += 1
            for name, constant in zip(outputs, converted.constants, strict=False):
                self._define(name, constant)
            return
        if isinstance(converted, Elements):
            self._apply(node, converted.steps)
            self._define_sequence(outputs[0], converted.values)
            return
        label: _Label | None = None
        for index, step in enumerate(converted):
            made = step.outputs or outputs
            types = self._types(step)
            if self._folds(step):
                self._fold(step, made, types)
                self._folded += 1
                continue
            label = label or self._label(node, converted[-1].op)
            is_last = index == len(converted) - 1
            node_id = label.id if is_last else self._names.claim(f"{label.id}.{step.op.type_name}")
            made = self._trimmed(made, len(types))
            self.draft.types.update((name, kind) for name, kind in zip(made, types, strict=True) if name)
            source = provenance or (_describe(node),)
            self.draft.append(Node(node_id, step.op, step.inputs, made, label.namespace, source))

    def _types(self, step: Apply) -> Sequence[TensorType]:
        if isinstance(step.op, OnnxOp):
            return self._open.of(step, self.draft.types, self.draft.constants)
        return self._infer(step.op, step.inputs, self.draft.types)

    @staticmethod
    def _trimmed(names: tuple[str, ...], count: int) -> tuple[str, ...]:
        """As many output names as the operator has outputs."""
        return (*names[:count], *("",) * (count - len(names)))

    # --- constants

    def _define(self, name: str, constant: Constant) -> None:
        self.draft.constants[name] = constant
        self.draft.types[name] = constant.type

    def _define_tensor(self, name: str, tensor: ir.TensorProtocol) -> None:
        """A constant; one of text stays what it is, to be built into the operators that read it."""
        if tensor.dtype != ir.DataType.STRING:
            self._define(name, self._source.weights.constant(tensor))
            return
        self._embedded[name] = ir.to_proto(tensor)
        shape = tuple(tensor.shape.numpy())
        self.draft.types[name] = self._open.open(name, make_tensor_type_proto(onnx.TensorProto.STRING, shape))

    def _define_sequence(self, name: str, elements: tuple[str, ...]) -> None:
        """A sequence of which every element is a value of its own."""
        proto = onnx.TypeProto()
        dtype = self.draft.types[elements[0]].dtype if elements else "float32"
        proto.sequence_type.elem_type.tensor_type.elem_type = np_dtype_to_tensor_dtype(numpy_dtype(dtype))
        self._sequences[name] = elements
        self.draft.types[name] = self._open.open(name, proto)

    def _folds(self, step: Apply) -> bool:
        """Whether all inputs are constants, and the outputs tensors that are the same every time."""
        if not all(not value or value in self.draft.constants for value in step.inputs):
            return False
        if not isinstance(step.op, OnnxOp):
            return True
        body = onnx.FunctionProto.FromString(step.op.body)
        is_random = any(node.op_type in _RANDOM for node in nodes_within(body.node))
        return not is_random and not any(name in self._open for name in step.outputs or ())

    def _fold(self, step: Apply, made: tuple[str, ...], types: Sequence[TensorType]) -> None:
        constants = self.draft.constants
        if isinstance(step.op, Identity):
            self._define(made[0], constants[step.inputs[0]])
            return
        depth = 1 + max((self._lazy_depth.get(value, 0) for value in step.inputs), default=0)
        results = applied(step.op, [constants.get(value) for value in step.inputs], types)
        for name, constant in zip(made, results, strict=False):
            if depth > _MAX_LAZY_DEPTH:
                constant = Constant.of(constant.array)
            self._lazy_depth[name] = depth % (_MAX_LAZY_DEPTH + 1)
            self._define(name, constant)

    @staticmethod
    def _constant_node(node: ir.Node) -> ir.TensorProtocol:
        """The value of a Constant node, whichever of its attributes holds it."""
        attribute = next(iter(node.attributes.values()), None)
        if attribute is None:
            raise GraphError("Constant has no value")
        if attribute.type == ir.AttributeType.TENSOR:
            # Not as_tensor(): its type check reads every property of the tensor, malformed ones too.
            return cast("ir.TensorProtocol", attribute.value)
        if attribute.name not in _CONSTANT_TYPES:
            raise GraphError(f"Constant holds {attribute.name}, which is not a tensor")
        return ir.tensor(attribute.value, dtype=_CONSTANT_TYPES[attribute.name])

    # --- control flow

    def _inlined_branch(self, node: ir.Node) -> bool:
        """Put the branch of an If whose condition is known into the graph; False where it is not known."""
        condition = self.draft.constants.get(self._resolved(node.inputs[0]))
        if condition is None:
            return False
        branch = node.attributes["then_branch" if bool(condition.array.reshape(())) else "else_branch"].as_graph()
        self._rename_clashes(branch)
        self._branches.append(branch)
        self._add_initializers(branch)
        self.convert_nodes(branch)
        for outer, inner in zip(node.outputs, branch.outputs, strict=True):
            result = ir.Value(name=outer.name, type=inner.type)
            self._convert(ir.Node("", "Identity", [inner], outputs=[result]))
        return True

    def _rename_clashes(self, branch: ir.Graph) -> None:
        """The names inside a branch are its own; in the graph around it they may be taken."""
        initializers = list(branch.initializers.values())
        for value in (*initializers, *(value for node in branch for value in node.outputs)):
            if value.name and value.name in self.draft.types:
                value.name = self.draft.fresh_name(value.name)

    # --- what cannot run

    def _problem(self, node: ir.Node, reads: Sequence[str]) -> Problem | None:
        """Why the node cannot run, or None."""
        problem = self._blocks.outside.get(node) or self._unknown_operator(node)
        if problem is not None:
            return problem
        stopped = next((value for value in reads if self._open.is_unknown(value)), None)
        return None if stopped is None else waits_for(stopped, self.draft.producer(stopped))

    def _mark(self, node: ir.Node, problem: Problem, reads: Sequence[str]) -> None:
        """Put the node into the graph as one that cannot run."""
        op = Unsupported(node.op_type, standard(node.domain), problem.reason, problem.hint)
        outputs = [value for value in node.outputs if value.name]
        for value in outputs:
            self.draft.types[_value_name(value)] = self._open.stated(_value_name(value))
        label = self._label(node, op)
        made = tuple(map(_value_name, outputs))
        self.draft.append(Node(label.id, op, tuple(reads), made, label.namespace, (_describe(node),)))

    # --- names and checks

    def _label(self, node: ir.Node, op: Op) -> _Label:
        scopes = torch_scopes(node.metadata_props)
        if scopes is not None:
            return _Label(self._names.scoped(scopes, op.type_name), scopes)
        if node.name:
            return _Label(self._names.claim(node.name), path_scopes(node.name))
        return _Label(self._names.scoped((), op.type_name), ())

    def _check_opset(self) -> None:
        version = self._opsets.get("")
        newest = onnx.defs.onnx_opset_version()
        if version is not None and not OLDEST_OPSET <= version <= newest:
            raise GraphError(
                f"opset {version} is not supported (supported: {OLDEST_OPSET} to {newest})",
                path=self._path,
                hint="export with opset 17, or convert with onnx.version_converter",
            )

    def _unknown_operator(self, node: ir.Node) -> Problem | None:
        """Why nobody knows the operator, or None.

        Raises:
            GraphError: It is known and has not as many inputs as it takes.
        """
        domain = standard(node.domain)
        version = self._opsets.get(domain)
        if version is None:
            return unknown_operator(domain, node.op_type, None)
        key = domain, node.op_type
        if key not in self._input_counts:
            self._input_counts[key] = _input_count(domain, node.op_type, version)
        counts = self._input_counts[key]
        if counts is None:
            return unknown_operator(domain, node.op_type, version)
        fewest, most = counts
        if not fewest <= len(node.inputs) <= most:
            raise GraphError(f"{node.op_type} has {len(node.inputs)} inputs, it takes {fewest} to {most}")
        return None


def _input_count(domain: str, op_type: str, version: int) -> tuple[int, int] | None:
    """How many inputs the operator takes, at least and at most; None where nobody knows it."""
    for candidate in (version, onnx.defs.onnx_opset_version()):  # files with operators ahead of their opset exist
        if onnx.defs.has(op_type, candidate, domain):
            schema = onnx.defs.get_schema(op_type, candidate, domain)
            return schema.min_input, schema.max_input
        if (domain, op_type) not in CONVERTERS:
            break
    return (1, _MOST_FUSED_INPUTS) if (domain, op_type) in CONVERTERS else None


def _is_whole(steps: Sequence[Apply]) -> bool:
    return any(isinstance(step.op, OnnxOp) for step in steps)


def _values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """What the file says of the values that nodes make."""
    return {value.name: value for node in graph for value in node.outputs if value.name}


def _has_symbols(value: ir.Value) -> bool:
    return value.shape is not None and not value.shape.is_static()


def _is_numeric(value: ir.Value) -> bool:
    return value.type is None or is_numeric(type_proto(value))


_CONSTANT_TYPES = {
    "value_float": ir.DataType.FLOAT,
    "value_floats": ir.DataType.FLOAT,
    "value_int": ir.DataType.INT64,
    "value_ints": ir.DataType.INT64,
    "value_string": ir.DataType.STRING,
    "value_strings": ir.DataType.STRING,
}


def _value_name(value: ir.Value) -> str:
    return value.name or ""


def _describe(node: ir.Node) -> str:
    """The node's name; where it has none, its type and what it makes."""
    if node.name:
        return node.name
    made = next((value.name for value in node.outputs if value.name), "nothing")
    return f"{node.op_type} making {made}"

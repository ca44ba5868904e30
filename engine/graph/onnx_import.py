"""From a parsed ONNX model to the typed graph: bind shapes, convert node by node, fold, clean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import onnx
import onnx_ir as ir

from engine.errors import GraphError, QuantscopeError
from engine.graph.binding import bound_shapes, has_symbolic_batch
from engine.graph.cleaning import clean
from engine.graph.converters import CONVERTERS
from engine.graph.draft import Draft
from engine.graph.fallback import as_onnx_op
from engine.graph.graph import Constant, Graph, Node, TensorType
from engine.graph.inference import TypeInference
from engine.graph.lazy import applied
from engine.graph.naming import path_scopes, torch_scopes
from engine.graph.onnx_file import OnnxModel
from engine.graph.source import Apply, Converted, Known, SourceNode
from engine.ops.base import Op
from engine.ops.layout import Identity
from engine.ops.other import Input

OLDEST_OPSET = 7
"""Before it, broadcasting was an attribute."""

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
_MAX_LAZY_DEPTH = 32
"""Longer chains of constants computed from constants are computed at once, lest a read recurse too deeply."""


def import_onnx(source: OnnxModel, bindings: Mapping[str, int], batch: int) -> Graph:
    """The typed, cleaned graph of a parsed model.

    Raises:
        GraphError: A symbol is unbound, an operator is unknown, or shapes do not fit; names file and node.
        ModelFileError: External data is missing or lies outside the model's folder.
    """
    importer = _Importer(source, bindings, batch)
    importer.read_initializers()
    importer.make_inputs()
    importer.convert_nodes(source.model.graph)
    importer.make_outputs()
    draft = importer.draft
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
        symbolic_batch=has_symbolic_batch(importer.fed_inputs()),
    )


@dataclass(frozen=True)
class _Label:
    """How the typed nodes of one source node are named."""

    id: str
    namespace: tuple[str, ...]


class _Importer:
    """The topological walk over one model."""

    def __init__(self, source: OnnxModel, bindings: Mapping[str, int], batch: int) -> None:
        self._source = source
        self._graph = source.model.graph
        self._path: Path | None = source.path
        self._bindings = bindings
        self._batch = batch
        self._infer = TypeInference()
        self._lazy_depth: dict[str, int] = {}
        self._input_counts: dict[tuple[str, str], tuple[int, int]] = {}
        self._opsets = {("" if d == "ai.onnx" else d): v for d, v in source.model.opset_imports.items()}
        self._source_count = 0
        self._folded = 0
        self.draft = Draft()
        self._names = self.draft.names
        self._check_opset()

    def notes(self) -> tuple[str, ...]:
        """What the walk did, for people."""
        return (f"{self._source_count} source nodes, {self._folded} folded into constants",)

    # --- the frame: initializers, inputs, outputs

    def read_initializers(self) -> None:
        """Every initializer becomes a constant; its data stays where it is."""
        self._add_initializers(self._graph)

    def _add_initializers(self, graph: ir.Graph) -> None:
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is not None:
                self._define(name, self._source.weights.constant(tensor))

    def fed_inputs(self) -> list[ir.Value]:
        """The inputs that are not initializers."""
        return [value for value in self._graph.inputs if value.name not in self._graph.initializers]

    def make_inputs(self) -> None:
        """Every input that is fed becomes an Input node ``input/NAME``."""
        inputs = self.fed_inputs()
        shapes = bound_shapes(inputs, self._bindings, self._batch, self._path)
        for value, shape in zip(inputs, shapes, strict=True):
            name = value.name or ""
            if value.dtype is None or value.dtype == ir.DataType.STRING:
                raise GraphError(f"input '{name}' is not a tensor of numbers", path=self._path)
            self.draft.types[name] = TensorType(shape, value.dtype.numpy().name)
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

    # --- the walk

    def convert_nodes(self, nodes: Iterable[ir.Node]) -> None:
        """Convert nodes, which must be in topological order."""
        for node in nodes:
            self._source_count += 1
            try:
                self._convert(node)
            except QuantscopeError as error:
                if error.path is not None:
                    raise
                label = error.node or _describe(node)
                raise type(error)(error.message, path=self._path, node=label, hint=error.hint) from error

    def _convert(self, node: ir.Node) -> None:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            self._define(_value_name(node.outputs[0]), self._constant_node(node))
            return
        if node.op_type == "If" and self._inlined_branch(node):
            return
        self._check_operator(node)
        self._apply(node, self._converted(node))

    def _converted(self, node: ir.Node) -> Sequence[Apply] | Known:
        source = self._source_node(node)
        converter = CONVERTERS.get((source.domain, source.op_type))
        try:
            converted: Converted = None if converter is None else converter(source)
        except (TypeError, ValueError, IndexError, KeyError, MemoryError) as error:
            raise GraphError(f"{node.op_type} has malformed attributes or inputs: {error}") from error
        if converted is not None:
            return converted
        op = as_onnx_op(node, source.version, self._source.weights, self.draft.constants)
        return [Apply(op, source.inputs)]

    def _source_node(self, node: ir.Node) -> SourceNode:
        domain = "" if node.domain == "ai.onnx" else node.domain
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
            fresh=self.draft.fresh_name,
            add_constant=self.draft.add_constant,
        )

    def _resolved(self, value: ir.Value | None) -> str:
        name = "" if value is None else _value_name(value)
        if name and name not in self.draft.types:
            raise GraphError(f"input '{name}' is made by no node before it")
        return name

    def _apply(self, node: ir.Node, converted: Sequence[Apply] | Known) -> None:
        outputs = tuple(_value_name(value) for value in node.outputs)
        if isinstance(converted, Known):
            self._folded += 1
            for name, constant in zip(outputs, converted.constants, strict=False):
                self._define(name, constant)
            return
        label: _Label | None = None
        for index, step in enumerate(converted):
            made = step.outputs or outputs
            types = self._infer(step.op, step.inputs, self.draft.types, self.draft.constants)
            if self._folds(step):
                self._fold(step, made, types)
                self._folded += 1
                continue
            label = label or self._label(node, converted[-1].op)
            is_last = index == len(converted) - 1
            node_id = label.id if is_last else self._names.claim(f"{label.id}.{step.op.type_name}")
            made = self._trimmed(made, len(types))
            self.draft.types.update((name, kind) for name, kind in zip(made, types, strict=True) if name)
            self.draft.append(Node(node_id, step.op, step.inputs, made, label.namespace, (_describe(node),)))

    @staticmethod
    def _trimmed(names: tuple[str, ...], count: int) -> tuple[str, ...]:
        """As many output names as the operator has outputs."""
        return (*names[:count], *("",) * (count - len(names)))

    # --- constants

    def _define(self, name: str, constant: Constant) -> None:
        self.draft.constants[name] = constant
        self.draft.types[name] = constant.type

    def _folds(self, step: Apply) -> bool:
        return step.op.type_name not in _RANDOM and all(
            not value or value in self.draft.constants for value in step.inputs
        )

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

    def _constant_node(self, node: ir.Node) -> Constant:
        """The value of a Constant node, whichever of its attributes holds it."""
        attribute = next(iter(node.attributes.values()), None)
        if attribute is None:
            raise GraphError("Constant has no value")
        if attribute.type == ir.AttributeType.TENSOR:
            # Not as_tensor(): its type check reads every property of the tensor, malformed ones too.
            return self._source.weights.constant(cast("ir.TensorProtocol", attribute.value))
        if attribute.name not in ("value_float", "value_floats", "value_int", "value_ints"):
            raise GraphError(f"Constant holds {attribute.name}, which is not a tensor of numbers")
        return self._source.weights.constant(ir.tensor(attribute.value, dtype=_CONSTANT_TYPES[attribute.name]))

    # --- control flow

    def _inlined_branch(self, node: ir.Node) -> bool:
        """Put the branch of an If whose condition is known into the graph; False where it is not known."""
        condition = self.draft.constants.get(self._resolved(node.inputs[0]))
        if condition is None:
            return False
        branch = node.attributes["then_branch" if bool(condition.array.reshape(())) else "else_branch"].as_graph()
        self._add_initializers(branch)
        self.convert_nodes(branch)
        for outer, inner in zip(node.outputs, branch.outputs, strict=True):
            self._apply_identity(node, self._resolved(inner), _value_name(outer))
        return True

    def _apply_identity(self, node: ir.Node, source: str, result: str) -> None:
        step = Apply(Identity(), (source,), (result,))
        self._apply(node, [step])

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

    def _check_operator(self, node: ir.Node) -> None:
        """The operator must be known, and have as many inputs as it takes."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self._opsets.get(domain)
        if version is None:
            raise GraphError(
                f"operator {node.op_type} is of domain '{node.domain}', which the model does not import",
                hint="export with standard ONNX operators only",
            )
        key = domain, node.op_type
        if key not in self._input_counts:
            self._input_counts[key] = _input_count(domain, node.op_type, version)
        fewest, most = self._input_counts[key]
        if not fewest <= len(node.inputs) <= most:
            raise GraphError(f"{node.op_type} has {len(node.inputs)} inputs, it takes {fewest} to {most}")


def _input_count(domain: str, op_type: str, version: int) -> tuple[int, int]:
    """How many inputs the operator takes, at least and at most."""
    for candidate in (version, onnx.defs.onnx_opset_version()):  # files with operators ahead of their opset exist
        if onnx.defs.has(op_type, candidate, domain):
            schema = onnx.defs.get_schema(op_type, candidate, domain)
            return schema.min_input, schema.max_input
        if (domain, op_type) not in CONVERTERS:
            break
    raise GraphError(
        f"operator {domain or 'ai.onnx'}::{op_type} is unknown in opset {version}",
        hint="export with standard ONNX operators only",
    )


_CONSTANT_TYPES = {
    "value_float": ir.DataType.FLOAT,
    "value_floats": ir.DataType.FLOAT,
    "value_int": ir.DataType.INT64,
    "value_ints": ir.DataType.INT64,
}


def _value_name(value: ir.Value) -> str:
    return value.name or ""


def _describe(node: ir.Node) -> str:
    """The node's name; where it has none, its type and what it makes."""
    if node.name:
        return node.name
    made = next((value.name for value in node.outputs if value.name), "nothing")
    return f"{node.op_type} making {made}"
